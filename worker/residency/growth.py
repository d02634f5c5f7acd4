"""What a copy keeps from its calls counts as its own: state, or what a library caches for it.

It grows when a call is larger than any before of that copy. So those calls are measured, and the
others pay a comparison. What is still there a moment later is booked: others leave if it does not
fit, and if that does not help the copy itself; its next load is refused, with its figure.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from shared.envelope import Outcome
from shared.errors import WarmrouteError
from shared.shared_memory import size_of
from worker.residency.context import WorkerContext
from worker.residency.copies import Copy, Kept
from worker.residency.evictor import Evictor
from worker.residency.gauge import Gauge, Span
from worker.residency.ledger import Footprint
from worker.residency.memory_manager import MemoryManager

log = logging.getLogger(__name__)

EVERY_S = 0.5
NOTICED = 1 << 20  # less is not told from what the event loop holds meanwhile


def watched(
    gauge: Gauge, copy: Copy, size: int, call: Callable[[], Sequence[Outcome]]
) -> Sequence[Outcome]:
    """Run a call whose inputs have `size` bytes, on the device thread; note what it kept if it is
    the largest of this copy. What a call that failed has kept shows at the next one."""
    if size <= copy.largest or not gauge.quiet:
        if size > copy.largest:
            gauge.disturb()
        return call()
    span = Span()
    gauge.begin(span)
    try:
        outcomes = call()
        change = gauge.end(span)
    finally:
        gauge.close(span)
    if change is not None and span.before is not None:
        copy.largest = size
        kept = change - sum(map(size_of, outcomes))
        if kept >= NOTICED:
            copy.kept = Kept(span.before, kept)
    return outcomes


class Growth:
    """Books what calls have kept."""

    def __init__(self, parts: WorkerContext, room: MemoryManager, evictor: Evictor) -> None:
        self._copies = parts.copies
        self._device_class = parts.device.device_class
        self._gauge = parts.gauge
        self._ledger = parts.ledger
        self._membership = parts.membership
        self._scripts = parts.scripts
        self._thread = parts.thread
        self._room = room
        self._evictor = evictor

    async def run_once(self) -> int:
        """Copies that have grown."""
        found = [c for c in self._copies.all() if c.kept and not c.retiring]
        return sum([await self._look_at(copy) for copy in found])

    async def _look_at(self, copy: Copy) -> bool:
        seen = copy.kept
        there = await self._thread.run(lambda: self._is_there(copy))
        if seen is None or there is None or copy.retiring:
            return False  # while something loads nobody can tell
        if copy.kept is seen:
            copy.kept = None
        if not there:
            copy.largest = 0  # it was the event loop's, or came back: the next call tells
            return False
        copy.model.bytes_resident += seen.size
        await self._book(copy)
        return True

    def _is_there(self, copy: Copy) -> bool | None:
        """Whether what was kept is still allocated."""
        now = self._gauge.now()
        if now is None or copy.kept is None or not self._gauge.quiet:
            return None
        return now - copy.kept.before >= copy.kept.size * 3 // 4

    async def _book(self, copy: Copy) -> None:
        own = copy.model.bytes_resident
        log.info("%s holds %d bytes of its own since its last calls", copy.ref, own)
        member, learned = self._membership, {f"own:{self._device_class}": own}
        with suppress(WarmrouteError):  # then the next load learns it
            await self._scripts.record_stats(member.worker, member.epoch, copy.ref, learned)
        grown = Footprint(copy.footprint.blobs, max(own, copy.footprint.own))
        if await self._room.grow(copy.ref, grown):
            copy.footprint = grown
            return
        reason = f"its calls made it {grown.total} bytes, the budget is {self._ledger.budget}"
        await self._evictor.evict(copy.ref, reason, "evict")
