"""The Lua scripts, each behind one typed function. Nobody else evaluates Lua.

A script is `lua/<name>.lua`; its line `-- use: a, b` names the files of `lua/lib` put before it.
The contract of each (KEYS, ARGV, returns) stands on top of its file; here are the types.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

import redis.exceptions

from shared.channel import Channel
from shared.connection import redis_errors
from shared.keys import Keys

CHUNK = 128
_USES = re.compile(r"^-- use: (.+)$", re.MULTILINE)


class Placing(NamedTuple):
    """One request for `place`. Times in ms, `flags` as in `lua/lib/publish.lua`."""

    id: str
    ref: str
    timeout_ms: int
    reply: str
    flags: str
    ingress: str
    reply_to: str
    caller_id: str
    body: bytes


class Placed(NamedTuple):
    """What became of it: placed | parked | full | unloadable | duplicate."""

    status: str
    where: str
    entry: str
    deadline_ms: int


class Completion(NamedTuple):
    """One outcome for `complete`; status succeeded | failed | expired."""

    entry: bytes
    id: bytes
    reply: bytes
    flags: bytes
    status: str
    outcome: bytes


class Limits(NamedTuple):
    """Bounds that `place` keeps: per work stream, per parked stream, records in the cell."""

    work: int
    parked: int
    pending: int


def load_source(name: str) -> str:
    """The text of a script with the library files that it uses."""
    folder = files("shared") / "lua"
    body = (folder / f"{name}.lua").read_text()
    used = _USES.search(body)
    parts = [part.strip() for part in used.group(1).split(",")] if used else []
    return "".join((folder / "lib" / f"{part}.lua").read_text() for part in parts) + body


class Scripts:
    """The scripts of one cell over one channel. `now_ms` replaces Redis's clock, for tests only."""

    def __init__(self, channel: Channel, keys: Keys) -> None:
        self._channel = channel
        self._prefix = keys.prefix
        self._sources: dict[str, tuple[str, str]] = {}
        self.now_ms: int | None = None

    def _source(self, name: str) -> tuple[str, str]:
        if name not in self._sources:
            text = load_source(name)
            self._sources[name] = (hashlib.sha1(text.encode()).hexdigest(), text)
        return self._sources[name]

    async def _run(self, name: str, *args: Any) -> Any:
        sha, text = self._source(name)
        now = "" if self.now_ms is None else self.now_ms
        with redis_errors():
            try:
                return await self._channel.execute_command(
                    "EVALSHA", sha, 1, self._prefix, now, *args
                )
            except redis.exceptions.NoScriptError:
                # The script did not run, so sending it whole cannot run it twice.
                return await self._channel.execute_command(
                    "EVAL", text, 1, self._prefix, now, *args
                )

    # Gateway ---------------------------------------------------------------------------------

    async def place(self, items: Sequence[Placing], limits: Limits) -> list[Placed]:
        """Accept requests; one answer per item."""
        flat = [field for item in items for field in item]
        rows = await self._run("place", *limits, *flat)
        return [Placed(s.decode(), w.decode(), e.decode(), int(d)) for s, w, e, d in rows]

    async def cancel(self, request_id: str, stream: str = "", entry: str = "") -> str:
        """`cancelled`, `unknown`, or the terminal status it already has."""
        answer: bytes = await self._run("cancel", request_id, stream, entry)
        return answer.decode()

    async def watch(self, request_id: str, gateway: str) -> dict[str, bytes]:
        """The record of a request ({} if unknown); its outcome will be sent to `gateway` too."""
        flat = await self._run("watch", request_id, gateway)
        return {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}

    async def answer(
        self, door: str, entry: str, reply_to: str, life_ms: int, dead: bool, fields: Iterable[Any]
    ) -> bool:
        """Write a rendered outcome to `reply_to`; False if somebody else did."""
        args = (door, entry, reply_to, life_ms, "1" if dead else "", *fields)
        return bool(await self._run("answer", *args))

    async def gateway_beat(self, gateway: str, lease_ms: int) -> int:
        """Renew a gateway's lease; the number of door entries taken back from dead ones."""
        return int(await self._run("gateway_beat", gateway, lease_ms, CHUNK))

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
        """Begin a new epoch; what the old one had is placed again."""
        flat = [part for pair in fields.items() for part in pair]
        epoch: bytes = await self._run("register", worker, lease_ms, max_attempts, *flat)
        return epoch.decode()

    async def heartbeat(
        self, worker: str, epoch: str, lease_ms: int, held: int, fields: dict[str, Any]
    ) -> str:
        """`ok`, `resync` or `fenced`."""
        flat = [part for pair in fields.items() for part in pair]
        answer: bytes = await self._run("heartbeat", worker, epoch, lease_ms, held, *flat)
        return answer.decode()

    async def leave(self, worker: str, epoch: str, max_attempts: int) -> bool:
        """Hand back what has not begun and be forgotten."""
        return bool(await self._run("leave", worker, epoch, max_attempts))

    async def begin(
        self, worker: str, epoch: str, items: Iterable[tuple[bytes, bytes, int, bytes]]
    ) -> tuple[int, list[bytes]]:
        """Per (entry, id, deadline ms, flags): run | expired | gone; [fenced] for all. And Redis's
        clock, ms."""
        flat = [field for item in items for field in item]
        now, *verdicts = await self._run("begin", worker, epoch, *flat)
        return now, verdicts

    async def complete(self, worker: str, epoch: str, items: Sequence[Completion]) -> list[int]:
        """Per item 1 won or 0 not ours any more; [-1] if fenced."""
        flat = [field for item in items for field in item]
        answer: list[int] = await self._run("complete", worker, epoch, *flat)
        return answer

    async def announce(self, worker: str, epoch: str, ref: str, token: str, tier: str) -> int:
        """Become a holder; parked requests left (call again), -1 stale, -2 fenced."""
        return int(await self._run("announce", worker, epoch, ref, token, tier, CHUNK))

    async def retire(self, worker: str, epoch: str, ref: str) -> str:
        """Stop new placements; the last entry id to drain up to, '' if fenced."""
        answer: bytes = await self._run("retire", worker, epoch, ref)
        return answer.decode()

    async def claim_load(self, worker: str, epoch: str, ref: str, token: str, lease_ms: int) -> str:
        """`claimed`, `stale`, `unwanted`, `refused` or `fenced`."""
        answer: bytes = await self._run("claim_load", worker, epoch, ref, token, lease_ms)
        return answer.decode()

    async def renew_load(self, worker: str, ref: str, token: str, lease_ms: int) -> bool:
        """False if the load lease is lost."""
        return bool(await self._run("renew_load", worker, ref, token, lease_ms))

    async def refuse_load(self, worker: str, ref: str, token: str) -> str:
        """`ordered` for another worker, `nobody` else is left, or `stale`."""
        answer: bytes = await self._run("refuse_load", worker, ref, token)
        return answer.decode()

    async def fail_load(
        self, worker: str, ref: str, token: str, cause: bytes, backoff_ms: int
    ) -> int:
        """Answer parked requests with the cause; how many are left (call again), -1 stale."""
        args = (worker, ref, token, cause, backoff_ms, CHUNK)
        return int(await self._run("fail_load", *args))
