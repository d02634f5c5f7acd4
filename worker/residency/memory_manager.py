"""Making room on the device: ask the plan, evict the copies that it names, reserve the bytes.

One newcomer at a time. A newcomer that cannot fit now waits; it learns why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shared import clock
from worker.residency.candidates import Resident, Wanted
from worker.residency.context import WorkerContext
from worker.residency.copies import resident
from worker.residency.eviction import Plan, Refusal, in_order, plan
from worker.residency.evictor import Evictor, Leaving
from worker.residency.ledger import Footprint

POLL_S, SLOW_POLL_S = 0.005, 0.025
# So long a newcomer waits for a copy that nobody uses just now; then one in use is drained for it,
# or models that are always in use would keep it out for ever.
PATIENCE_S = 0.25
CONTENDED_S = 1.0  # after an eviction for a newcomer the next one counts as contended for so long

# It may be that another worker has room, so a newcomer does not wait longer than that.
LONGEST_S = 1.5

LEAVING = Refusal(never=False, why="another model is leaving just now")

Waits = Callable[[str], object]
Drain = asyncio.Future[list[None]]


class MemoryManager:
    """The budget of the device, and who has to go for whom."""

    def __init__(
        self,
        parts: WorkerContext,
        evictor: Evictor,
        max_models: int = 0,
        min_residency_loads: float = 2.0,
    ) -> None:
        self._copies = parts.copies
        self._ledger = parts.ledger
        self._policy = parts.policy
        self._evictor = evictor
        self._max_models = max_models
        self._min_residency_loads = min_residency_loads
        self._turn = asyncio.Lock()
        self._draining: set[Drain] = set()
        self._evicted_at = float("-inf")  # for a newcomer, the last time

    def residents(self) -> list[Resident]:
        """The copies that may be evicted."""
        now, loads = clock.monotonic(), self._min_residency_loads
        return [
            resident(copy, now, self._evictor.busy(copy), loads)
            for copy in self._copies.all()
            if not copy.retiring
        ]

    def could_be_made(self) -> bool:
        """Whether a further load can be planned at all: something is free or can be freed."""
        free = self._ledger.used < self._ledger.budget
        return free or any(not resident.pinned for resident in self.residents())

    def is_free(self, footprint: Footprint) -> bool:
        """Whether it fits beside all that is here."""
        full = self._max_models and len(self._ledger) >= self._max_models
        return not full and self._ledger.used_with(footprint) <= self._ledger.budget

    async def make(self, wanted: Wanted, waits: Waits = lambda why: None) -> Refusal | None:
        """Evict what the plan says and reserve the bytes. A refusal if it can never fit, or not
        soon: then another worker may have room. While it waits `waits` is told why, '' after it."""
        begun = clock.monotonic()
        while True:
            waited = clock.monotonic() - begun
            may_drain = waited > PATIENCE_S
            async with self._turn:
                refused, draining = await self._try(wanted, may_drain)
            if draining is not None:
                await asyncio.shield(draining)  # beside other newcomers
                continue
            longest_s = PATIENCE_S if wanted.trial else LONGEST_S
            if refused is None or refused.never or refused.stuck or waited > longest_s:
                waits("")
                return refused
            waits(refused.why)
            # Others are loading or draining: they end, and may need a turn for that.
            await asyncio.sleep(SLOW_POLL_S if may_drain else POLL_S)

    def is_contended(self, footprint: Footprint) -> bool:
        """Whether somebody would have to go for it, and somebody went for another just now."""
        return self.contended() and not self.is_free(footprint)

    def contended(self) -> bool:
        """Whether models push each other out: somebody went for a newcomer just now."""
        return clock.monotonic() - self._evicted_at < CONTENDED_S

    async def take_free(self, wanted: Wanted) -> bool:
        """Reserve the bytes if they are free; nobody is evicted."""
        async with self._turn:
            if fits := self.is_free(wanted.footprint):
                self._ledger.reserve(wanted.ref, wanted.footprint, wanted.group)
            return fits

    async def correct(self, wanted: Wanted, evict: bool = True) -> bool:
        """Replace a reservation by what was measured (`wanted`). If that is more than there is:
        evict, or (`evict` False, or it can never fit) give the reservation up and answer False."""
        try:
            while True:
                async with self._turn:
                    made = await self._try_to_correct(wanted, evict)
                if made is not None:
                    return made
                await asyncio.sleep(POLL_S)
        except asyncio.CancelledError:
            self._ledger.release(wanted.ref)
            raise

    async def grow(self, ref: str, footprint: Footprint) -> bool:
        """A copy has become larger: others that are not in use leave until it fits. False if it
        does not even so."""
        while self._ledger.get(ref) is not None:
            async with self._turn:
                if self._ledger.correct(ref, footprint):
                    return True
            alone = footprint.total <= self._ledger.budget
            if not (alone and await self.relieve(f"{ref} has grown", spare=ref)):
                return False
        return True

    async def relieve(self, reason: str = "the device had no memory left", spare: str = "") -> bool:
        """Evict the copy that is worth least of those not in use, but for `spare`; False if there
        is none."""
        async with self._turn:
            now = clock.monotonic()
            idle = [r for r in self.residents() if not (r.busy or r.pinned or r.ref == spare)]
            for victim in in_order(self._ledger, idle, self._policy, now):
                left = await self._evictor.retire(victim.ref, "evict")
                if isinstance(left, Leaving):
                    await self._evictor.let_go(left, reason)
                    return True
        return False

    async def resize(self, budget: int) -> None:
        """Change the budget, and evict what is over it and not in use. In a turn of its own:
        a plan relies on the budget that it saw."""
        async with self._turn:
            self._ledger.budget = budget
        while self._ledger.used > budget and await self.relieve("other processes took memory"):
            pass

    async def _try_to_correct(self, wanted: Wanted, evict: bool) -> bool | None:
        if self._ledger.correct(wanted.ref, wanted.footprint):
            return True
        predicted = self._ledger.get(wanted.ref)
        self._ledger.release(wanted.ref)  # nobody else can take the room while it is our turn
        if not evict:
            return False
        refused, draining = await self._try(wanted, may_drain=True)
        if refused is None and draining is None:
            return True
        if predicted is None or (refused is not None and (refused.never or refused.stuck)):
            return False
        self._ledger.reserve(wanted.ref, predicted, wanted.group)
        return None

    async def _try(self, wanted: Wanted, may_drain: bool) -> tuple[Refusal | None, Drain | None]:
        """Whether the room was made (nothing), or why not, or what must be drained first."""
        if self._comes_free(wanted.footprint):
            return LEAVING, None
        decision = plan(
            self._ledger, wanted, self.residents(), self._policy, clock.monotonic(),
            max_models=self._max_models, may_drain=may_drain,
        )  # fmt: skip
        if isinstance(decision, Refusal):
            return decision, None
        if decision.evict:
            self._evicted_at = clock.monotonic()
            # A load may be given up here (its lease is lost); an eviction once begun must end.
            stays, draining = await asyncio.shield(self._evict(decision, wanted.ref))
            if stays or draining is not None:
                return (Refusal(False, stays) if stays else None), draining
        if self._ledger.used_with(wanted.footprint, [wanted.ref]) > self._ledger.budget:
            return LEAVING, None
        self._ledger.reserve(wanted.ref, wanted.footprint, wanted.group)
        return None, None

    def _comes_free(self, footprint: Footprint) -> bool:
        """Whether it does not fit yet, but will when those that leave have gone: nobody else is to
        go for it meanwhile."""
        leaving = [copy.ref for copy in self._copies.all() if copy.retiring]
        used, budget = self._ledger.used_with, self._ledger.budget
        return bool(leaving) and used(footprint, leaving) <= budget < used(footprint)

    async def _evict(self, decision: Plan, newcomer: str) -> tuple[str, Drain | None]:
        """All of them, or none: why one stays, or what is still in use and drained beside."""
        leaving: list[Leaving] = []
        for ref in decision.evict:
            left = await self._evictor.retire(ref, "evict")
            if isinstance(left, str):
                for other in leaving:
                    await self._evictor.take_back(other)
                return f"{ref} is {left}", None
            if left is not None:
                leaving.append(left)
        draining = asyncio.ensure_future(
            asyncio.gather(
                *(self._evictor.let_go(left, f"room for {newcomer}") for left in leaving)
            )
        )
        if any(self._evictor.busy(left.copy) for left in leaving):
            self._draining.add(draining)
            draining.add_done_callback(self._draining.discard)
            return "", draining
        await draining
        return "", None
