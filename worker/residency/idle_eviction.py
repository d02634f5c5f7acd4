"""Copies that nobody needs any more leave by themselves, and changed policies are read again.

A copy goes when it was idle for its `idle_ttl_s`, or when other workers hold the model too and have
time for what it does here: the rule that ordered another copy, read backwards.
"""

from __future__ import annotations

from shared import clock
from shared.manifest import Batching
from worker.residency.context import WorkerContext
from worker.residency.copies import Copy
from worker.residency.evictor import Evictor
from worker.residency.model_stats import ModelStatsReader
from worker.trial.batches import INDEPENDENT

EVERY_S = 1.0
SETTLED_S = 5.0  # so long a copy's share of the device's time is not known well


class IdleEvictor:
    """Looks at every copy, about once a second."""

    def __init__(self, parts: WorkerContext, evictor: Evictor, facts: ModelStatsReader) -> None:
        self._copies = parts.copies
        self._meter = parts.meter
        self._batcher = parts.batcher
        self._evictor = evictor
        self._facts = facts

    async def run_once(self) -> int:
        """Copies that left."""
        held = [copy for copy in self._copies.all() if not copy.retiring]
        await self._refresh(held)
        left = 0
        for copy in held:
            left += not copy.retiring and await self._leaves(copy)
        return left

    async def _refresh(self, held: list[Copy]) -> None:
        known = await self._facts.read([(copy.ref, copy.manifest) for copy in held])
        for copy, facts in zip(held, known, strict=True):
            copy.policy, copy.surplus, copy.wanted = facts.policy, facts.holders > 1, facts.pinned
            if facts.rows not in ("", INDEPENDENT):  # another worker has found that out
                self._batcher.limit(copy.ref, Batching(max_size=1))

    async def _leaves(self, copy: Copy) -> bool:
        now = clock.monotonic()
        if copy.must_stay or copy.stays_until > now or self._evictor.busy(copy):
            return False
        ttl = copy.policy.idle_ttl_s
        if 0 < ttl <= now - copy.last_used:
            reason = f"idle for {now - copy.last_used:.0f} s"
            return not await self._evictor.evict(copy.ref, reason, "evict")
        if copy.surplus and now - copy.loaded_at > SETTLED_S:
            reason, share = "the other copies have time for it", self._meter.share(copy.ref)
            return not await self._evictor.evict(copy.ref, reason, "spare", share)
        return False
