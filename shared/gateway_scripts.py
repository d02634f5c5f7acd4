"""The Lua scripts that gateways call, each behind one typed function.

The contract of each (KEYS, ARGV, returns) stands on top of its file; here are the types.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from shared.housekeeping_scripts import HousekeepingScripts
from shared.placed import Limits, Placed
from shared.script_runner import CHUNK, flat_of


class Placing(NamedTuple):
    """One request for `place`. Times in ms, `flags`: those of `constants.py`. `key`: idempotency
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


class Cancel(NamedTuple):
    """One request for `cancel`. `stream` and `entry` say where it is, and `ref` its model, if it
    may have no record. `late`: its deadline has passed, and its caller gets that outcome.
    `since`: of the connection that said where it is, None if that is certain. `life_ms`: how long
    it may live, if it is unknown whether it was placed: then it does not run."""

    id: str
    stream: str = ""
    entry: str = ""
    ref: str = ""
    late: bool = False
    since: float | None = None
    life_ms: int = 0


class Waiting(NamedTuple):
    """A request whose caller waits, for `hand_over`: where it was placed."""

    id: str
    ref: str
    deadline_ms: int
    stream: str
    entry: str
    since: float | None = None


class Ordered(NamedTuple):
    """Answer of `order_copy`: held | loading | ordered | unloadable | quarantined | no_worker
    | resting, and the detail that `lua/order_copy.lua` describes."""

    status: str
    detail: str


class Replied(NamedTuple):
    """Answer of `publish_reply`: answered | late (another gateway did) | refused, and why Redis
    did not write to that stream."""

    status: str
    why: str = ""


class Opened(NamedTuple):
    """Answer of `open_session`: open | exists (with the expiry, ms), full (ref, bytes, most free
    bytes on one worker) or too_many (sessions)."""

    status: str
    details: tuple[str, ...]


def _placed(row: Sequence[bytes], since: float) -> Placed:
    status, detail, entry, deadline_ms, retry_ms = row
    return Placed(
        status.decode(), detail.decode(), entry.decode(), int(deadline_ms), int(retry_ms), since
    )


def _text_fields(flat: Sequence[bytes]) -> dict[str, bytes]:
    return {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}


class GatewayScripts(HousekeepingScripts):
    """Scripts that gateways call. All raise Unavailable if Redis does not answer, or refuses."""

    # Requests ----------------------------------------------------------------------------------

    async def place(self, items: Sequence[Placing], limits: Limits) -> list[Placed]:
        """Accept requests; one answer per item."""
        flat = [field for item in items for field in item]
        rows = await self._run("place", *limits, *_PLACING, *flat)
        since = self.since
        return [_placed(row, since) for row in rows]

    async def replay(self, entry: str, request_id: str, timeout_ms: int, limits: Limits) -> Placed:
        """A dead letter as a new request; status as `place`, or ingress | unknown | unkept."""
        row = await self._run("replay", entry, request_id, timeout_ms, *limits)
        return _placed(row, self.since)

    async def cancel(self, items: Sequence[Cancel]) -> list[str]:
        """Per item `cancelled`, `unknown`, `gone`, or the terminal status it already has. One that
        is `late` ends as expired, and the answer is that outcome: `expired` and why."""
        flat = [
            field
            for i in items
            for field in (*i[:4], "1" if i.late else "", self._outlived(i.since), i.life_ms or "")
        ]
        return [answer.decode(errors="replace") for answer in await self._run("cancel", *flat)]

    def _outlived(self, since: float | None) -> str:
        """`1` if what was said over a connection, opened at `since`, was said over an earlier one
        than what is asked now goes over."""
        return "" if since is None or since == self.since < float("inf") else "1"

    async def record_outcomes(self, most: int, ends: Sequence[str | bytes]) -> bool:
        """Store how requests ended (id, text, id, text ...); False if Redis has no headroom."""
        return bool(await self._run("record_outcomes", most, *ends))

    async def subscribe(self, request_id: str, gateway: str) -> dict[str, bytes]:
        """The record of a request ({} if unknown, `gone` if it is no longer kept, `ended` if it had
        none); its outcome will be sent to `gateway` too."""
        flat = await self._run("subscribe", request_id, gateway)
        return _text_fields(flat)

    async def publish_reply(
        self, door: str, entry: str, reply_to: str, life_ms: int, dead: bool, fields: Iterable[Any]
    ) -> Replied:
        """Write a rendered outcome to `reply_to`. If that cannot be, it is a dead letter."""
        args = (door, entry, reply_to, life_ms, "1" if dead else "", *fields)
        status, *why = await self._run("publish_reply", *args)
        return Replied(status.decode(), why[0].decode(errors="replace") if why else "")

    # The gateway, and dead letters -------------------------------------------------------------

    async def hand_over(self, gateway: str, waiting: Iterable[Waiting]) -> list[int]:
        """A gateway stops. Per request 1 if it continues and can be polled, 0 if it has ended.
        Afterwards the replies that it has not read are in the stream `<gateway>.unread`."""
        items, kept = list(waiting), list[int]()
        size = max(1, CHUNK // 2)
        for at in range(0, max(1, len(items)), size):
            part = items[at : at + size]
            flat = [f for item in part for f in (*item[:5], self._outlived(item.since))]
            last = "1" if at + size >= len(items) else ""
            kept += await self._run("hand_over", gateway, last, *flat)
        return kept

    async def list_letters(self, upto: str, count: int) -> list[tuple[bytes, int, list[bytes]]]:
        """Dead letters from `upto` on, newest first: entry, bytes of the payload, its fields."""
        return [
            (entry, int(size), flat)
            for entry, size, flat in await self._run("list_letters", upto, count)
        ]

    # Copies and sessions -----------------------------------------------------------------------

    async def order_copy(
        self, ref: str, least: int | None = None, *, trial: bool = False
    ) -> Ordered:
        """Order a load; `least`: minimum number of copies from now on, 0 of a version that has left
        the repository: its pin goes too. A `trial` that has failed is not ordered again for a
        while."""
        kept, flag = "" if least is None else least, "1" if trial else ""
        row = await self._run("order_copy", ref, kept, flag)
        return Ordered(row[0].decode(), row[1].decode())

    async def order_unload(self, ref: str) -> int:
        """Order every copy freed; the number of live workers with the order, -1 if it is pinned."""
        ordered, cursor = 0, b"0"
        while True:
            count, cursor = await self._run("order_unload", ref, cursor, CHUNK)
            if count < 0:
                return -1
            ordered += int(count)
            if cursor == b"0":
                return ordered

    async def set_policy(self, ref: str, fields: Mapping[str, str]) -> dict[str, str]:
        """Override fields of a policy ('' removes one); the overrides now in force."""
        flat = [part.decode() for part in await self._run("set_policy", ref, *flat_of(fields))]
        return dict(zip(flat[::2], flat[1::2], strict=True))

    async def open_session(
        self, session: str, ttl_ms: int, most: int, models: Iterable[tuple[str, int]]
    ) -> Opened:
        """Pin (ref, bytes) of each model for `ttl_ms`; at most `most` sessions in the cell."""
        flat = [part for model in models for part in model]
        status, *details = await self._run("open_session", session, ttl_ms, most, *flat)
        return Opened(status.decode(), tuple(part.decode() for part in details))

    async def keep_session(self, session: str, ttl_ms: int | None = None) -> int:
        """Extend a session; the new expiry (ms), 0 if it has ended. `ttl_ms` None: as before."""
        return int(await self._run("keep_session", session, "" if ttl_ms is None else ttl_ms))

    async def close_session(self, session: str) -> bool:
        """End a session, whose models may be evicted again; False if there was none."""
        return bool(await self._run("close_session", session))
