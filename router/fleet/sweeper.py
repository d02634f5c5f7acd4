"""Housekeeping of a cell: leases, dead workers and gateways, expired requests, missing copies.

A few gateways do it, those that the last heartbeat's answer names; each step is one atomic script,
so together they do it once. A heartbeat's answer also says whether Redis is full, for the readiness
of each gateway, and shows Redis's clock: so a gateway that does not keep the cell's clock can say
what happened if those that do have died. Each kind of step has a loop of its own, and within a
script a member that cannot be handled fails alone: a broken key stops no housekeeping but its own.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar, cast

from router.fleet.clock_watch import PRECISE_MS, ClockWatch, Reading
from shared import clock
from shared.event_log import EventLog
from shared.script_runner import CHUNK
from shared.scripts import GatewayScripts, PartlyDone

log = logging.getLogger(__name__)

BEAT_EVERY_S = 1.0
SWEEP_EVERY_S = 0.5
ORDER_UNITS = 12  # an order's share of a script's budget (lua/lib/order.lua)
CLOCK_EVERY_S = 0.4
MAX_CHUNKS = 1000
MAX_LOGGED = 1000
FULL_BEATS = 2
WARN_EVERY_S = 60.0

Step = Callable[[], Awaitable[object]]
Counts = TypeVar("Counts", bound=tuple[int, ...])


class Sweeper:
    """The lease of this gateway, the cell's clock, and four kinds of housekeeping, in loops."""

    def __init__(
        self,
        scripts: GatewayScripts,
        gateway: str,
        lease_s: float,
        max_attempts: int,
        events: EventLog,
        kept_bytes: int = 0,
    ) -> None:
        self._scripts = scripts
        self._kept_bytes = kept_bytes
        self._warned_at = float("-inf")
        self._full = 0  # heartbeats in a row that found Redis full
        self._events = events
        self._gateway = gateway
        self._lease_ms = round(lease_s * 1000)
        self._max_attempts = max_attempts
        self._logged: set[str] = set()
        self._keeps_house = True
        self._watch = ClockWatch()
        self._clock_follows = False

    async def keep_clock_once(self) -> int:
        """Follow Redis's clock for the cell, as those do that keep house; if it is far from where
        it was left, every gateway says whether it leapt, as soon as it knows. Returns the leap that
        was found (ms), else 0."""
        if self._clock_follows and not self._keeps_house:
            return 0
        mark, reading = await self._read_clock()
        if mark:  # that answer may have waited in Redis: the next one is more exact
            mark, reading = await self._read_clock()
        if not mark:
            return 0
        leap_ms = self._watch.leap(mark, reading)
        if leap_ms is None:
            return 0
        await self._read_clock(mark, leap_ms)
        if leap_ms:
            log.warning("Redis's clock leapt by %+.1f s; the cell's clock did not", leap_ms / 1000)
        return leap_ms

    async def _read_clock(self, mark: str = "", leap_ms: int = 0) -> tuple[str, Reading]:
        sent_ms = clock.monotonic() * 1000
        kept = await self._scripts.keep_clock(self._lease_ms, mark, leap_ms)
        reading = Reading(kept.redis_ms, sent_ms, clock.monotonic() * 1000)
        self._clock_follows = not kept.mark
        if not kept.mark:
            self._watch.explained(reading)
        return kept.mark, reading

    async def beat_once(self) -> int:
        """Renew this gateway's lease; the number of entries moved from dead gateways back to
        doors."""
        sent_ms = clock.monotonic() * 1000
        beat = await self._scripts.gateway_beat(self._gateway, self._lease_ms)
        reading = Reading(beat.redis_ms, sent_ms, clock.monotonic() * 1000)
        self._keeps_house, self._clock_follows = beat.keeps_house, beat.clock_follows
        if beat.clock_follows and reading.received_ms - sent_ms <= PRECISE_MS:
            self._watch.explained(reading)
        self._full = 0 if beat.fits else self._full + 1
        return beat.moved

    def of_the_house(self, step: Step) -> Step:
        """`step`, taken only while this gateway keeps house."""

        async def taken() -> object:
            return await step() if self._keeps_house else None

        return taken

    async def reap_once(self) -> int:
        """Release dead workers; how many."""
        reaped = 0
        for _ in range(MAX_CHUNKS):
            found = await self._scripts.reap(self._max_attempts)
            if found is None:
                break
            worker, left = found
            if left < 0:
                self._log_errors("reap", [worker])
                break
            reaped += left == 0
            log.warning("worker %s lost its lease: %d of its requests left to move", *found)
        return reaped

    async def sweep_once(self) -> Counter[str]:
        """End late and lost requests, repeat unclaimed orders."""
        counts: Counter[str] = Counter()
        for _ in range(MAX_CHUNKS):
            ended, ordered, placed = await self._tolerant("sweep", self._scripts.sweep)
            counts.update(ended=ended, ordered=ordered, placed=placed)
            if ended + placed + ORDER_UNITS * ordered < CHUNK:
                break
        return counts

    @property
    def redis_is_full(self) -> bool:
        """Whether requests are refused because of Redis's memory, and not for a moment only."""
        return self._full >= FULL_BEATS

    async def drop_kept_once(self) -> Counter[str]:
        """Drop the oldest outcomes and dead letters beyond their budget."""
        outcomes, letters = await self._scripts.drop_kept(self._kept_bytes)
        if (outcomes or letters) and clock.monotonic() - self._warned_at > WARN_EVERY_S:
            self._warned_at = clock.monotonic()
            log.warning(
                "%d outcomes and %d dead letters were dropped, the oldest first: together they "
                "exceed WARMROUTE_KEPT_BYTES", outcomes, letters,
            )  # fmt: skip
        return Counter(outcomes_dropped=outcomes, letters_dropped=letters)

    async def reconcile_once(self) -> Counter[str]:
        """End sessions without a heartbeat, order missing copies."""
        ended = missing = 0
        for _ in range(MAX_CHUNKS):
            more = await self._tolerant("reconcile", self._scripts.reconcile)
            ended, missing = ended + more[0], missing + more[1]
            if not more[0] and ORDER_UNITS * more[1] < CHUNK:
                break
        if ended:
            self._events.emit("session_closed", reason=f"without a heartbeat: {ended} sessions")
        if missing:
            reason = f"fewer copies than min_copies: {missing} models"
            self._events.emit("ordered_copy", reason=reason)
        return Counter(sessions_ended=ended, copies_ordered=missing)

    async def _tolerant(self, step: str, call: Callable[[], Awaitable[Counts]]) -> Counts:
        """What a script did, with the errors of single members in the log."""
        try:
            return await call()
        except PartlyDone as done:
            self._log_errors(step, done.errors)
            return cast(Counts, tuple(done.counts))

    def _log_errors(self, step: str, errors: Iterable[str]) -> None:
        """Each once: the same key fails twice a second."""
        for error in errors:
            if error not in self._logged and len(self._logged) < MAX_LOGGED:
                self._logged.add(error)
                log.error("%s: %s", step, error)
