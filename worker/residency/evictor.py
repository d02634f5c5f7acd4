"""The eviction of one copy: retire, drain, free, measure.

A copy is never freed while a request that was placed on it remains. Where the host has memory for
its weights they stay there, so that the next load is quick.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from shared import clock, failpoints, statuses
from shared.errors import Conflict
from shared.event_log import EventLog
from shared.retry import until_answered
from worker.residency.context import WorkerContext
from worker.residency.copies import Copy
from worker.residency.demotion import Demotion
from worker.residency.outcome import FREED, Freed, Stays
from worker.residency.polling import until

log = logging.getLogger(__name__)

STAYS_S = 1.0  # after a refusal the script is not asked again for this long
REFUSALS = (statuses.PINNED, statuses.NEEDED)  # answers of the script `retire`


class Retired(NamedTuple):
    """A copy that takes no new requests. It is drained once entry `last` has been read by a read
    that began after `retired`; `started` is when it was chosen. Times of `clock.monotonic`."""

    copy: Copy
    tier: str
    last: bytes
    started: float
    retired: float


class Evictor:
    """Evicts copies, each on its own. `caught_up(entry, since)`: whether everything that was placed
    up to `entry` has been read."""

    def __init__(
        self, context: WorkerContext, caught_up: Callable[[bytes, float], bool],
        demotion: Demotion, events: EventLog,
    ) -> None:  # fmt: skip
        self._scripts = context.scripts
        self._membership = context.membership
        self._copies = context.copies
        self._batcher = context.batcher
        self._thread = context.thread
        self._gauge = context.gauge
        self._ledger = context.ledger
        self._policy = context.policy
        self._meter = context.meter
        self._caught_up = caught_up
        self._demotion = demotion
        self._events = events

    async def evict(
        self, ref: str, reason: str, mode: str = "", share: float = 0.0
    ) -> Freed | Stays:
        """Evict the copy of a model, if there is one. `mode` as in the script `retire`: '' in any
        case, evict, spare (with the copy's `share` of the device's time)."""
        copy = self._copies.get(ref)
        while copy is not None and self._copies.get(ref) is copy:
            match await self.retire(ref, mode, share):
                case Stays() as stays:
                    return stays
                case Retired() as retired:
                    await self.free(retired, reason)
                case None:  # another caller frees it, or puts it back: then it is retired again
                    await self.until_freed(ref)
        return FREED

    async def retire(self, ref: str, mode: str = "", share: float = 0.0) -> Retired | Stays | None:
        """Let a copy take no new requests; None if it is not there, or already retiring. The caller
        must then `free` it, or `reinstate` it."""
        copy = self._copies.get(ref)
        if copy is None or copy.retiring:
            return None
        copy.retiring = True  # before the map: from here on it is not announced again
        # An announcement received after the retirement would make it a holder again.
        await until(lambda: not copy.announcing)
        tier, started = self._demotion.tier_of(copy), clock.monotonic()
        last = await self._retire(ref, tier, mode, share)
        if last in REFUSALS:
            copy.retiring = False
            copy.stays_until = clock.monotonic() + STAYS_S
            return Stays(last)
        # Only a read that begins now shows that nothing more comes: until Redis retired the copy,
        # which may have taken a while, requests were placed on it.
        return Retired(copy, tier, last.encode() or b"0-0", started, clock.monotonic())

    async def reinstate(self, retired: Retired) -> None:
        """Let a retired copy take requests again."""
        copy = retired.copy
        copy.retiring, copy.announcing = False, True
        try:
            with suppress(Conflict):  # fenced: it is announced with all others
                await until_answered(lambda: self._membership.announce(copy.ref, ""))
        finally:
            copy.announcing = False

    async def free(self, retired: Retired, reason: str) -> None:
        """Drain a retired copy and free it."""
        await self._drain(retired)
        await failpoints.reach("evict.drained")
        await self._free(retired, reason)

    def busy(self, copy: Copy) -> bool:
        """Whether a request for the copy runs or waits."""
        return copy.running > 0 or self._batcher.waiting(copy.ref) > 0

    async def until_freed(self, ref: str) -> None:
        """Return when no copy of `ref` is retiring."""

        def is_freed() -> bool:
            copy = self._copies.get(ref)
            return copy is None or not copy.retiring

        await until(is_freed)

    async def _retire(self, ref: str, tier: str, mode: str, share: float) -> str:
        member = self._membership
        # Fenced ('') means that the map no longer names this worker, and that what was placed here
        # has been moved away.
        return await until_answered(
            lambda: self._scripts.retire(member.worker, member.epoch, ref, tier, mode, share)
        )

    async def _drain(self, retired: Retired) -> None:
        # Queue, device and reader end independently: a short poll is simpler than events.
        copy, last, since = retired.copy, retired.last, retired.retired
        await until(lambda: not self.busy(copy) and self._caught_up(last, since))

    async def _free(self, retired: Retired, reason: str) -> None:
        """Free the copy and report what that gave back, by the ledger and as measured."""
        copy, tier, ref = retired.copy, retired.tier, retired.copy.ref
        self._batcher.close(ref)
        change = await self._unload(copy)
        used = self._ledger.used  # others are freed beside it: from here on nothing is awaited
        self._ledger.release(ref)
        self._copies.remove(ref)  # last: a load of the same model waits for all of this
        self._policy.evicted(ref)
        self._meter.forget(ref)
        self._demotion.freed(copy, tier)
        took = clock.monotonic() - retired.started
        self._events.emit(
            "demoted" if tier == "host" else "evicted", ref, tier_from="device", tier_to=tier,
            reason=reason, bytes=used - self._ledger.used,
            bytes_regained=None if change is None else max(0, -change), seconds=took,
        )  # fmt: skip
        log.info("evicted %s after %.0f ms: %s", ref, took * 1000, reason)
        # From here on an unload by the API is done: it goes by this word, not by a report.
        await until_answered(lambda: self._scripts.freed(self._membership.worker, ref))

    async def _unload(self, copy: Copy) -> int | None:
        """By how many bytes what is live on the device changed; None if that is not known."""
        try:
            return await self._thread.run(lambda: self._gauge.measure(copy.model.unload))
        except Exception:  # a runtime's own: its bytes leave the ledger all the same
            log.exception("this is a bug: unloading %s raised", copy.ref)
            return None
