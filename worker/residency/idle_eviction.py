"""Idle eviction: copies that are no longer needed are evicted, and changed policies take effect.

A copy is evicted when it was idle for its `idle_ttl_s`, or when other workers hold the model too
and have time for the requests that it serves: the rule of scale-out, in reverse.

What the cell says of a copy (policy, pins, holders) is read when a heartbeat's answer names it, and
from time to time in case an answer was lost: read for each copy and second, it took more than a
core of Redis from 1,000 workers at rest.
"""

from __future__ import annotations

from shared import clock
from shared.backoff import doubled_s
from shared.manifest import Batching
from worker.residency.context import WorkerContext
from worker.residency.copies import Copy
from worker.residency.evictor import Evictor
from worker.residency.model_stats import ModelStats, ModelStatsReader
from worker.residency.outcome import Freed, Stays
from worker.trial.batches import INDEPENDENT

EVERY_S = 1.0
SETTLED_S = 5.0  # before a copy's share of the device's time is known well
READ_EVERY_S = 300.0  # though nothing is said to have changed
READ_MOST = 128  # copies at once: those of all workers are due together after an outage
FIRST_S, LONGEST_S = 1.0, 8.0  # between two refusals of the cell to let a copy go, doubling


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
        now = clock.monotonic()
        stale = [copy for copy in held if now - copy.read_at >= READ_EVERY_S]
        due = sorted(stale, key=lambda copy: copy.read_at)[:READ_MOST]
        for copy in due:
            copy.read_at = now  # before the read: what changes meanwhile is read once more
        try:
            found = await self._stats.read([(copy.ref, copy.manifest) for copy in due])
        except BaseException:
            self._copies.look_again([copy.ref for copy in due])
            raise
        for copy, stats in zip(due, found, strict=True):
            self._note(copy, stats)

    def _note(self, copy: Copy, stats: ModelStats) -> None:
        copy.policy, copy.surplus = stats.policy, stats.holders > 1
        copy.required = stats.holders <= stats.policy.least_copies
        copy.in_session = stats.in_session
        copy.asks, copy.ask_at = 0, 0.0
        if stats.finding not in ("", INDEPENDENT):  # another worker has found that out
            self._batcher.limit(copy.ref, Batching(max_size=1))

    async def _is_evicted(self, copy: Copy) -> bool:
        now = clock.monotonic()
        if copy.must_stay(now) or copy.required or now < copy.ask_at or self._evictor.busy(copy):
            return False
        ttl = copy.policy.idle_ttl_s
        if 0 < ttl <= now - copy.last_used:
            reason = f"idle for {now - copy.last_used:.0f} s"
            return self._left(copy, await self._evictor.evict(copy.ref, reason, "evict"))
        if copy.surplus and now - copy.loaded_at > SETTLED_S:
            reason, share = "the other copies have time for it", self._meter.share(copy.ref)
            return self._left(copy, await self._evictor.evict(copy.ref, reason, "spare", share))
        return False

    @staticmethod
    def _left(copy: Copy, outcome: Freed | Stays) -> bool:
        if isinstance(outcome, Freed):
            return True
        copy.asks += 1
        copy.ask_at = clock.monotonic() + doubled_s(copy.asks, FIRST_S, LONGEST_S)
        return False
