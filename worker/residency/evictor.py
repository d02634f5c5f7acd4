"""One copy goes: retire, drain, free, measure.

It is never freed while a request that was placed on it remains. Where the host has memory for
them its weights stay there, so that it can be back soon.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from shared import clock, failpoints
from shared.errors import Conflict
from shared.event_log import EventLog
from shared.retry import until_answered
from worker.residency.context import WorkerContext
from worker.residency.copies import Copy
from worker.residency.demotion import Demotion

log = logging.getLogger(__name__)

POLL_S = 0.005
STAYS_S = 1.0  # a copy that must stay is not asked for again before
STAYS = ("pinned", "needed")


class Leaving(NamedTuple):
    """A copy that takes no new requests. It is drained up to entry `last`, by a read that was begun
    after `retired`; `begun` is when it was chosen. Times of `clock.monotonic`."""

    copy: Copy
    tier: str
    last: bytes
    begun: float
    retired: float


class Evictor:
    """Frees copies, each by itself. `caught_up(entry, since)`: whether all that was placed up to
    `entry` has been taken in."""

    def __init__(
        self, parts: WorkerContext, caught_up: Callable[[bytes, float], bool], demotion: Demotion,
        events: EventLog,
    ) -> None:  # fmt: skip
        self._scripts = parts.scripts
        self._membership = parts.membership
        self._copies = parts.copies
        self._batcher = parts.batcher
        self._thread = parts.thread
        self._gauge = parts.gauge
        self._ledger = parts.ledger
        self._policy = parts.policy
        self._meter = parts.meter
        self._caught_up = caught_up
        self._demotion = demotion
        self._events = events

    async def evict(self, ref: str, reason: str, mode: str = "", share: float = 0.0) -> str:
        """Free one copy; '' when it is gone, else why it stays (`pinned`, `needed`). `mode` as of
        the script `retire`: '' whatever, evict, spare (with its share of the device's time)."""
        copy = self._copies.get(ref)
        while copy is not None and self._copies.get(ref) is copy:
            left = await self.retire(ref, mode, share)
            if isinstance(left, str):
                return left
            if left is not None:
                await self.let_go(left, reason)
            else:  # another lets it go, or takes it back: then it is asked again
                await self.until_freed(ref)
        return ""

    async def retire(self, ref: str, mode: str = "", share: float = 0.0) -> Leaving | str | None:
        """No new requests for a copy; None if it is not there, or leaves already. A text says why
        it stays. Who retires a copy must let it go, or take it back."""
        copy = self._copies.get(ref)
        if copy is None or copy.retiring:
            return None
        copy.retiring = True  # before the map is told: nobody may announce it again meanwhile
        while copy.announcing:  # noqa: ASYNC110 - heard after it was retired, it would be a holder
            await asyncio.sleep(POLL_S)
        tier, begun = self._demotion.tier_of(copy), clock.monotonic()
        last = await self._retire(ref, tier, mode, share)
        if last in STAYS:
            copy.retiring = False
            copy.stays_until = clock.monotonic() + STAYS_S
            return last
        # Only a read from here on shows that nothing more comes: until Redis retired it, which may
        # have taken a while, requests were placed on it.
        return Leaving(copy, tier, last.encode() or b"0-0", begun, clock.monotonic())

    async def take_back(self, left: Leaving) -> None:
        """It stays after all, and takes requests again."""
        copy = left.copy
        copy.retiring, copy.announcing = False, True
        try:
            with suppress(Conflict):  # fenced: it is announced with all others
                await until_answered(lambda: self._membership.announce(copy.ref, ""))
        finally:
            copy.announcing = False

    async def let_go(self, left: Leaving, reason: str) -> None:
        """Drain and free it."""
        await self._drain(left)
        await failpoints.reach("evict.drained")
        await self._free(left, reason)

    def busy(self, copy: Copy) -> bool:
        """Whether a request for it runs or waits."""
        return copy.running > 0 or self._batcher.waiting(copy.ref) > 0

    async def until_freed(self, ref: str) -> None:
        """Return when no copy of `ref` is on its way out."""
        while (copy := self._copies.get(ref)) is not None and copy.retiring:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)

    async def _retire(self, ref: str, tier: str, mode: str, share: float) -> str:
        member = self._membership
        # Fenced ('') means that the map forgot us, and what was placed here has been moved away.
        return await until_answered(
            lambda: self._scripts.retire(member.worker, member.epoch, ref, tier, mode, share)
        )

    async def _drain(self, left: Leaving) -> None:
        # Queue, device and reader end independently: a short poll is simpler than events.
        copy, last, since = left.copy, left.last, left.retired
        while self.busy(copy) or not self._caught_up(last, since):  # noqa: ASYNC110 - see above
            await asyncio.sleep(POLL_S)

    async def _free(self, left: Leaving, reason: str) -> None:
        """Free it and say what that gave back, by the ledger and as measured."""
        copy, tier, ref = left.copy, left.tier, left.copy.ref
        self._batcher.close(ref)
        change = await self._unload(copy)
        used = self._ledger.used  # others leave beside it: from here on nothing is awaited
        self._ledger.release(ref)
        self._copies.remove(ref)  # last: who waits to load it again begins after all of this
        self._policy.evicted(ref)
        self._meter.forget(ref)
        self._demotion.begin(copy, tier)
        took = clock.monotonic() - left.begun
        self._events.emit(
            "demoted" if tier == "host" else "evicted", ref, tier_from="device", tier_to=tier,
            reason=reason, bytes=used - self._ledger.used,
            bytes_regained=None if change is None else max(0, -change), seconds=took,
        )  # fmt: skip
        log.info("evicted %s after %.0f ms: %s", ref, took * 1000, reason)

    async def _unload(self, copy: Copy) -> int | None:
        """By how many bytes what is live on the device changed; None if that cannot be told."""
        try:
            return await self._thread.run(lambda: self._gauge.measure(copy.model.unload))
        except Exception:  # a runtime's own: its bytes are gone from the ledger all the same
            log.exception("this is a bug: unloading %s raised", copy.ref)
            return None
