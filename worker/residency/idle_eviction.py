"""Idle eviction: copies that are no longer needed are evicted, and changed policies take effect.

A copy is evicted when it was idle for its `idle_ttl_s`, or when other workers hold the model too
and have time for the requests that it serves: the rule of scale-out, in reverse.
"""

from __future__ import annotations

from shared import clock
from shared.manifest import Batching
from worker.residency.context import WorkerContext
from worker.residency.copies import Copy
from worker.residency.evictor import Evictor
from worker.residency.model_stats import ModelStatsReader
from worker.residency.outcome import Freed
from worker.trial.batches import INDEPENDENT

EVERY_S = 1.0
SETTLED_S = 5.0  # before a copy's share of the device's time is known well


class IdleEvictor:
    """Checks every copy, about once a second."""

    def __init__(self, context: WorkerContext, evictor: Evictor, stats: ModelStatsReader) -> None:
        self._copies = context.copies
        self._meter = context.meter
        self._batcher = context.batcher
        self._evictor = evictor
        self._stats = stats

    async def run_once(self) -> int:
        """Check every copy; the number that was evicted."""
        held = [copy for copy in self._copies.all() if not copy.retiring]
        await self._refresh(held)
        evicted = 0
        for copy in held:
            evicted += not copy.retiring and await self._is_evicted(copy)
        return evicted

    async def _refresh(self, held: list[Copy]) -> None:
        found = await self._stats.read([(copy.ref, copy.manifest) for copy in held])
        for copy, stats in zip(held, found, strict=True):
            copy.policy, copy.surplus = stats.policy, stats.holders > 1
            copy.in_session = stats.in_session
            if stats.finding not in ("", INDEPENDENT):  # another worker has found that out
                self._batcher.limit(copy.ref, Batching(max_size=1))

    async def _is_evicted(self, copy: Copy) -> bool:
        now = clock.monotonic()
        if copy.must_stay(now) or self._evictor.busy(copy):
            return False
        ttl = copy.policy.idle_ttl_s
        if 0 < ttl <= now - copy.last_used:
            reason = f"idle for {now - copy.last_used:.0f} s"
            return isinstance(await self._evictor.evict(copy.ref, reason, "evict"), Freed)
        if copy.surplus and now - copy.loaded_at > SETTLED_S:
            reason, share = "the other copies have time for it", self._meter.share(copy.ref)
            outcome = await self._evictor.evict(copy.ref, reason, "spare", share)
            return isinstance(outcome, Freed)
        return False
