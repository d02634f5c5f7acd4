"""The growth of a copy: what its calls leave allocated (state, caches of a library) counts as its
own bytes, and so does what they take beyond what a call may (`call_peaks.py`).

A copy grows when a call is larger than any before. So those calls are measured, and the others
cost a comparison. What is still allocated a moment later is booked: other copies are evicted if it
does not fit, and if that is not enough the copy itself. A figure over the budget is not recorded:
one caller's huge call would refuse the model to all others for as long as statistics live.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from shared.envelope import Outcome
from shared.errors import WarmrouteError
from shared.footprint import Footprint
from shared.shared_memory import size_of
from worker.residency.call_peaks import CallPeaks, most_of_peak
from worker.residency.context import WorkerContext
from worker.residency.copies import Copy, Retained
from worker.residency.evictor import Evictor
from worker.residency.gauge import Gauge, Span
from worker.residency.memory_manager import MemoryManager

log = logging.getLogger(__name__)

EVERY_S = 0.5
NOTICED = 1 << 20  # less may be what the event loop allocates in the meantime


def watched(
    gauge: Gauge, copy: Copy, size: int, call: Callable[[], Sequence[Outcome]],
    peaks: CallPeaks | None = None,
) -> Sequence[Outcome]:  # fmt: skip
    """Run a call whose inputs have `size` bytes, on the device thread; if it is the largest of this
    copy, record what it left allocated, and in `peaks` what it took while it ran. Growth of a call
    that fails shows at the next one."""
    if size <= copy.largest or not gauge.quiet:
        if size > copy.largest:
            gauge.disturb()
        elif peaks is not None:
            peaks.ran(copy.ref, size)
        return call()
    span = Span()
    gauge.begin(span)
    start = gauge.peak.start() if gauge.peak else None
    try:
        outcomes = call()
        change = gauge.end(span)
    finally:
        gauge.close(span)
    if change is not None and span.before is not None:
        copy.largest = size
        retained = change - sum(map(size_of, outcomes))
        if retained >= NOTICED:
            copy.retained = Retained(span.before, retained)
        if gauge.peak and start is not None and peaks is not None:
            peaks.found(copy.ref, gauge.peak.taken(start, change), size, NOTICED)
    return outcomes


class Growth:
    """Books what calls have left allocated."""

    def __init__(self, context: WorkerContext, memory: MemoryManager, evictor: Evictor) -> None:
        self._copies = context.copies
        self._device_class = context.device.device_class
        self._gauge = context.gauge
        self._peaks = context.peaks
        self._ledger = context.ledger
        self._membership = context.membership
        self._scripts = context.scripts
        self._thread = context.thread
        self._memory = memory
        self._evictor = evictor

    async def run_once(self) -> int:
        """Check every copy whose last large call left memory allocated; how many have grown."""
        found = [c for c in self._copies.all() if c.retained and not c.retiring]
        grown = sum([await self._check(copy) for copy in found])
        for copy in self._copies.all():
            if not copy.retiring and self._peaks.excess(copy.ref) != copy.peak:
                await self._count_peak(copy)
                grown += 1
        return grown

    async def _check(self, copy: Copy) -> bool:
        retained = copy.retained
        allocated = await self._thread.run(lambda: self._is_allocated(copy))
        if retained is None or allocated is None or copy.retiring:
            return False  # not known while something loads: look again
        if copy.retained is retained:
            copy.retained = None
        if not allocated:
            copy.largest = 0  # the event loop's, or given back: the next call is measured again
            return False
        copy.model.bytes_resident += retained.size
        await self._book(copy)
        return True

    async def _count_peak(self, copy: Copy) -> None:
        """Count what the copy's calls take beyond what a call may, or count it no longer. If it
        does not fit even alone, another worker is to have the copy; if none is left (`copy.last`),
        as much of it counts as fits."""
        copy.peak = self._peaks.excess(copy.ref)
        log.info("calls of %s take %d bytes more than they may", copy.ref, copy.peak)
        if known := self._peaks.known(copy.ref):
            await self._record(copy, f"peak:{self._device_class}", known.text())
        without = Footprint(copy.footprint.blobs, copy.footprint.own - copy.excess)
        counted, budget = copy.peak, self._ledger.budget
        if without.plus(counted).total > budget:
            if not copy.last:
                reason = f"its calls take {copy.peak} bytes more than they may"
                await self._evictor.evict(copy.ref, reason, "evict")
                return
            counted = min(counted, most_of_peak(budget, without.total))
        if await self._memory.grow(copy.ref, without.plus(counted)):
            copy.excess, copy.footprint = counted, without.plus(counted)

    def _is_allocated(self, copy: Copy) -> bool | None:
        """Whether what the call left is still allocated; None if that is not known now."""
        now = self._gauge.now()
        if now is None or copy.retained is None or not self._gauge.quiet:
            return None
        return now - copy.retained.before >= copy.retained.size * 3 // 4

    async def _book(self, copy: Copy) -> None:
        own = copy.model.bytes_resident
        log.info("%s has %d bytes of its own after its last calls", copy.ref, own)
        if Footprint(copy.footprint.blobs, own).total <= self._ledger.whole:
            await self._record(copy, f"own:{self._device_class}", own)
        await self._fit(copy, max(own, copy.footprint.own - copy.excess))

    async def _record(self, copy: Copy, field: str, value: object) -> None:
        member = self._membership
        with suppress(WarmrouteError):  # then the next load records it
            await self._scripts.record_stats(member.worker, member.epoch, copy.ref, {field: value})

    async def _fit(self, copy: Copy, own: int) -> None:
        """Book own bytes of a copy; it is evicted itself if it does not fit even alone. What its
        calls take gives way first."""
        without = Footprint(copy.footprint.blobs, own)
        if copy.last:
            copy.excess = min(copy.excess, most_of_peak(self._ledger.budget, without.total))
        grown = without.plus(copy.excess)
        if await self._memory.grow(copy.ref, grown):
            copy.footprint = grown
            return
        reason = f"its calls made it {grown.total} bytes, the budget is {self._ledger.budget}"
        await self._evictor.evict(copy.ref, reason, "evict")
