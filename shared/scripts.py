"""The Lua scripts, each behind one typed function: those of requests, workers and gateways. Those
of model copies are in `copy_scripts.py`. Nobody else evaluates Lua.

The contract of each (KEYS, ARGV, returns) stands on top of its file; here are the types.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from shared import protocol
from shared.copy_scripts import CopyScripts
from shared.placed import Limits, Placed
from shared.script_runner import CHUNK


class Placing(NamedTuple):
    """One request for `place`. Times in ms, `flags` as in `lua/lib/publish.lua`. `key`: idempotency
    key ('' none); `fingerprint`: digest of what is asked under it."""

    id: str
    ref: str
    timeout_ms: int
    reply: str
    flags: str
    ingress: str
    reply_to: str
    caller_id: str
    key: str
    fingerprint: str
    body: bytes


# Sent once per call, before the rows: the script takes the values by these names.
_PLACING = (len(Placing._fields), *Placing._fields)


class Completion(NamedTuple):
    """One outcome for `complete`; status succeeded | failed | expired. Of a failure `ref`, and its
    `cause` in full for the log (b"": the outcome says it)."""

    entry: bytes
    id: bytes
    reply: bytes
    flags: bytes
    status: str
    outcome: bytes
    ref: str | bytes = b""
    cause: bytes = b""


class Waiting(NamedTuple):
    """A request whose caller waits, for `hand_over`: where it was placed."""

    id: str
    ref: str
    deadline_ms: int
    stream: str
    entry: str


def _placed(row: Sequence[bytes]) -> Placed:
    status, detail, entry, deadline_ms, retry_ms = row
    return Placed(status.decode(), detail.decode(), entry.decode(), int(deadline_ms), int(retry_ms))


class Scripts(CopyScripts):
    """The scripts of one cell. All raise Unavailable if Redis does not answer, or refuses."""

    # Gateway ---------------------------------------------------------------------------------

    async def place(self, items: Sequence[Placing], limits: Limits) -> list[Placed]:
        """Accept requests; one answer per item."""
        flat = [field for item in items for field in item]
        rows = await self._run("place", *limits, *_PLACING, *flat)
        return [_placed(row) for row in rows]

    async def replay(self, entry: str, request_id: str, timeout_ms: int, limits: Limits) -> Placed:
        """A dead letter as a new request; status as `place`, or ingress | unknown | unkept."""
        return _placed(await self._run("replay", entry, request_id, timeout_ms, *limits))

    async def cancel(
        self, request_id: str, stream: str = "", entry: str = "", late: str = ""
    ) -> str:
        """`cancelled`, `unknown`, `gone`, or the terminal status it already has. With `late`, its
        ref, it ends as expired, and the answer is that outcome: `expired` and why."""
        answer: bytes = await self._run("cancel", request_id, stream, entry, late)
        return answer.decode(errors="replace")

    async def record_outcomes(self, most: int, ends: Sequence[str | bytes]) -> bool:
        """Keep what became of requests (id, text, id, text ...); False if Redis has no room."""
        return bool(await self._run("record_outcomes", most, *ends))

    async def subscribe(self, request_id: str, gateway: str) -> dict[str, bytes]:
        """The record of a request ({} if unknown, `gone` if it is no longer kept, `ended` if it had
        none); its outcome will be sent to `gateway` too."""
        flat = await self._run("subscribe", request_id, gateway)
        return {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}

    async def publish_reply(
        self, door: str, entry: str, reply_to: str, life_ms: int, dead: bool, fields: Iterable[Any]
    ) -> bool:
        """Write a rendered outcome to `reply_to`; False if somebody else did."""
        args = (door, entry, reply_to, life_ms, "1" if dead else "", *fields)
        return bool(await self._run("publish_reply", *args))

    async def gateway_beat(self, gateway: str, lease_ms: int) -> int:
        """Renew a gateway's lease; the number of door entries taken back from dead ones.
        ConfigError if it joins beside a process whose protocol does not go with its own."""
        answer = await self._run("gateway_beat", gateway, lease_ms, CHUNK, *self.protocol)
        if isinstance(answer, list):
            raise protocol.conflict("gateway", self.protocol, answer)
        return int(answer)

    async def hand_over(
        self, gateway: str, last_read: str, waiting: Iterable[Waiting]
    ) -> tuple[list[int], list[list[bytes]]]:
        """A gateway leaves. Per request 1 it goes on and can be polled, 0 it has ended; and the
        fields of the replies that were not read yet."""
        flat = [field for item in waiting for field in item]
        kept, unread = await self._run("hand_over", gateway, last_read, *flat)
        return kept, unread

    async def reap(self, max_attempts: int) -> tuple[str, int] | None:
        """Wipe one dead worker, a chunk of it: (worker, entries left), or None."""
        row = await self._run("reap", max_attempts, CHUNK)
        return (row[0].decode(), int(row[1])) if row else None

    async def sweep(self) -> tuple[int, int, int]:
        """Counts of requests expired, loads ordered again, requests placed again."""
        expired, ordered, placed = await self._run("sweep", CHUNK)
        return expired, ordered, placed

    # Worker ----------------------------------------------------------------------------------

    async def register(
        self, worker: str, lease_ms: int, max_attempts: int, fields: dict[str, Any]
    ) -> str:
        """Begin a new epoch; what the old one had is placed again. `fields`: `incarnation` too.
        ConfigError if it joins beside a process whose protocol does not go with its own."""
        flat = [part for pair in fields.items() for part in pair]
        args = (worker, lease_ms, max_attempts, *self.protocol, *flat)
        answer: bytes | list[bytes] = await self._run("register", *args)
        if isinstance(answer, list):
            raise protocol.conflict("worker", self.protocol, answer)
        return answer.decode()

    async def heartbeat(
        self, worker: str, epoch: str, incarnation: str, lease_ms: int, held: int,
        fields: dict[str, Any],
    ) -> str:  # fmt: skip
        """`ok`, `resync`, `fenced` or `taken`."""
        flat = [part for pair in fields.items() for part in pair]
        args = (worker, epoch, incarnation, lease_ms, held, *flat)
        answer: bytes = await self._run("heartbeat", *args)
        return answer.decode()

    async def fence_worker(
        self, worker: str, epoch: str, batch: int, cause: str, max_attempts: int
    ) -> int:
        """Give up the epoch of a dead device process; requests moved, -1 if it is not current."""
        return int(await self._run("fence_worker", worker, epoch, batch, cause, max_attempts))

    async def leave(self, worker: str, epoch: str, max_attempts: int) -> bool:
        """Hand back what has not begun and be forgotten."""
        return bool(await self._run("leave", worker, epoch, max_attempts))

    async def begin(
        self, worker: str, epoch: str, batch: int,
        items: Iterable[tuple[bytes, bytes, int, bytes]],
    ) -> tuple[int, list[bytes]]:  # fmt: skip
        """Per (entry, id, deadline ms, flags): run | expired | gone; [fenced] for all. And Redis's
        clock, ms."""
        flat = [field for item in items for field in item]
        now, *verdicts = await self._run("begin", worker, epoch, batch, *flat)
        return now, verdicts

    async def complete(self, worker: str, epoch: str, items: Sequence[Completion]) -> list[int]:
        """Per item 1 won or 0 not ours any more; [-1] if fenced."""
        flat = [field for item in items for field in item]
        answer: list[int] = await self._run("complete", worker, epoch, *flat)
        return answer
