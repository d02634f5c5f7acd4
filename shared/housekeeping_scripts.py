"""The Lua scripts by which gateways keep house for a cell, each behind one typed function.

The contract of each (KEYS, ARGV, returns) stands on top of its file; here are the types.
"""

from __future__ import annotations

from typing import NamedTuple

from shared import protocol
from shared.script_runner import CHUNK, ScriptRunner


class GatewayBeat(NamedTuple):
    """Answer of `gateway_beat`: door entries returned from dead gateways; if it keeps house;
    Redis's own clock (ms), and if the cell's clock follows it; if Redis has headroom."""

    moved: int
    keeps_house: bool
    redis_ms: int
    clock_follows: bool
    fits: bool


class PartlyDone(Exception):
    """A step of housekeeping was done, except for single members: the counts, and their errors."""

    def __init__(self, counts: list[int], errors: list[str]) -> None:
        super().__init__("; ".join(errors))
        self.counts = counts
        self.errors = errors


class KeptClock(NamedTuple):
    """Answer of `keep_clock`: Redis's own clock (ms), and '' or the mark of what is not explained:
    far more or less time has passed by that clock than gateways have followed."""

    redis_ms: int
    mark: str


class HousekeepingScripts(ScriptRunner):
    """Leases, dead processes, late requests, missing copies. All raise Unavailable if Redis does
    not answer, or refuses."""

    async def gateway_beat(self, gateway: str, lease_ms: int) -> GatewayBeat:
        """Renew a gateway's lease. ConfigError if a live process has a protocol that does not work
        with its own."""
        answer = await self._run("gateway_beat", gateway, lease_ms, CHUNK, *self.protocol)
        if isinstance(answer[0], bytes):
            raise protocol.conflict("gateway", self.protocol, answer)
        moved, keeps, redis_ms, follows, fits = map(int, answer)
        return GatewayBeat(moved, bool(keeps), redis_ms, bool(follows), bool(fits))

    async def keep_clock(self, lease_ms: int, mark: str = "", leap_ms: int = 0) -> KeptClock:
        """Follow Redis's clock for the cell. After an answer with a `mark` the clock stands still,
        until a call says with that mark by how much Redis's clock leapt."""
        redis_ms, asks = await self._run("keep_clock", lease_ms, mark, leap_ms)
        return KeptClock(int(redis_ms), asks.decode())

    async def reap(self, max_attempts: int) -> tuple[str, int] | None:
        """Release one dead worker, a chunk of it: (worker, entries left), or None. No worker is
        dead before one lease has passed since Redis was last away. (error, -1) if only workers are
        left that cannot be released."""
        row = await self._run("reap", max_attempts, CHUNK)
        return (row[0].decode(errors="replace"), int(row[1])) if row else None

    async def sweep(self) -> tuple[int, int, int]:
        """Counts of requests ended (late, or their entry was lost), loads ordered again, requests
        placed again. PartlyDone."""
        ended, ordered, placed = await self._counts("sweep")
        return ended, ordered, placed

    async def drop_kept(self, most_bytes: int) -> tuple[int, int]:
        """Keep the oldest outcomes and dead letters no longer, where all together exceed their
        budget (0: a share of Redis's memory): counts of both."""
        outcomes, letters = await self._run("drop_kept", CHUNK, most_bytes)
        return int(outcomes), int(letters)

    async def reconcile(self) -> tuple[int, int]:
        """Counts of sessions that had expired, and of copies ordered. PartlyDone."""
        ended, ordered = await self._counts("reconcile")
        return ended, ordered

    async def _counts(self, name: str) -> list[int]:
        counts: list[int]
        *counts, errors = await self._run(name, CHUNK)
        if errors:
            raise PartlyDone(counts, [error.decode(errors="replace") for error in errors])
        return counts
