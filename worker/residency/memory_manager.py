"""The memory of the device: ask the plan, evict the copies that it names, reserve the bytes.

One load is planned at a time. A load that does not fit now waits, and its waiters can read why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

from shared import clock
from shared.footprint import Footprint
from worker.residency.context import WorkerContext
from worker.residency.copies import resident
from worker.residency.eviction import in_order, plan
from worker.residency.evictor import Evictor, Retired
from worker.residency.outcome import FREED, Draining, Freed, Stays
from worker.residency.polling import POLL_S, SLOW_POLL_S
from worker.residency.projection import LoadCandidate, Resident

# After this long a load no longer waits for a copy to become idle, and one in use is drained for
# it: models that are always in use would keep it out for ever.
PATIENCE_S = 0.25
CONTENDED_S = 1.0  # after an eviction for a load the device counts as contended for this long
# Another worker may have free memory, so a load does not wait longer than this.
LONGEST_S = 1.5
ANOTHER_IS_LEAVING = Stays("another model is leaving just now")

ReportWait = Callable[[str], object]


class MemoryManager:
    """Reserves bytes of the device's budget, and evicts copies where that is needed."""

    def __init__(
        self, context: WorkerContext, evictor: Evictor, max_models: int = 0,
        min_residency_loads: float = 2.0,
    ) -> None:  # fmt: skip
        self._copies = context.copies
        self._ledger = context.ledger
        self._policy = context.policy
        # Other workers of the host share a CPU's memory: what they leave is the whole.
        self._divided = context.device.kind == "cpu"
        self._evictor = evictor
        self._max_models = max_models
        self._min_residency_loads = min_residency_loads
        self._turn = asyncio.Lock()
        self._draining: set[asyncio.Future[list[None]]] = set()
        self._evicted_at = float("-inf")  # the last eviction for a load

    def residents(self) -> list[Resident]:
        """The copies that may be evicted."""
        now, loads = clock.monotonic(), self._min_residency_loads
        return [
            resident(copy, now, self._evictor.busy(copy), loads)
            for copy in self._copies.all()
            if not copy.retiring
        ]

    def has_capacity(self) -> bool:
        """Whether a further load can be planned at all: bytes are free or can be freed."""
        free = self._ledger.used < self._ledger.budget
        return free or any(not resident.pinned for resident in self.residents())

    def fits(self, footprint: Footprint) -> bool:
        """Whether it fits without an eviction."""
        full = self._max_models and len(self._ledger) >= self._max_models
        return not full and self._ledger.used_with(footprint) <= self._ledger.budget

    def contended(self) -> bool:
        """Whether models push each other out: a copy was evicted for a load just now."""
        return clock.monotonic() - self._evicted_at < CONTENDED_S

    def is_contended(self, footprint: Footprint) -> bool:
        """Whether a load needs an eviction, shortly after another load did."""
        return self.contended() and not self.fits(footprint)

    async def reserve(
        self, candidate: LoadCandidate, report_wait: ReportWait = lambda why: None
    ) -> Freed | Stays:
        """Evict what the plan names and reserve the bytes. Stays if the candidate never fits, or
        not soon: then another worker may have the memory. `report_wait(why)` is called while it
        waits, and with '' after it."""
        started = clock.monotonic()
        while True:
            waited = clock.monotonic() - started
            may_drain = waited > PATIENCE_S
            async with self._turn:
                outcome = await self._try(candidate, may_drain)
            match outcome:
                case Draining(done):
                    await asyncio.shield(done)  # other loads are planned in the meantime
                    continue
                case Stays(why, never, _, stuck):
                    longest_s = PATIENCE_S if candidate.trial else LONGEST_S
                    if not (never or stuck or waited > longest_s):
                        report_wait(why)
                        # Others are loading or draining: they end, and may need a turn for that.
                        await asyncio.sleep(SLOW_POLL_S if may_drain else POLL_S)
                        continue
            report_wait("")
            return outcome

    async def try_reserve(self, candidate: LoadCandidate) -> bool:
        """Reserve the bytes if they are free; nothing is evicted."""
        async with self._turn:
            if fits := self.fits(candidate.footprint):
                self._ledger.reserve(candidate.ref, candidate.footprint, candidate.group)
            return fits

    async def correct(self, candidate: LoadCandidate, evict: bool = True) -> bool:
        """Replace a reservation by the measured footprint of `candidate`. If that is more than is
        free: evict, or (`evict` False, or it can never fit) give the reservation up and return
        False."""
        try:
            while True:
                async with self._turn:
                    corrected = await self._try_to_correct(candidate, evict)
                if corrected is not None:
                    return corrected
                await asyncio.sleep(POLL_S)
        except asyncio.CancelledError:
            self._ledger.release(candidate.ref)
            raise

    async def grow(self, ref: str, footprint: Footprint) -> bool:
        """Book the larger footprint of a copy, and evict idle copies until it fits. False if it
        does not fit even then."""
        while self._ledger.get(ref) is not None:
            async with self._turn:
                if self._ledger.correct(ref, footprint):
                    return True
            fits_alone = footprint.total <= self._ledger.budget
            if not (fits_alone and await self.evict_one(f"{ref} has grown", spare=ref)):
                return False
        return True

    async def evict_one(
        self, reason: str = "the device ran out of memory", spare: str = "",
        only: Collection[str] | None = None,
    ) -> bool:  # fmt: skip
        """Evict the idle copy that is worth least, except `spare`, and of `only` (None: of all);
        False if there is none."""
        async with self._turn:
            now = clock.monotonic()
            idle = [
                r
                for r in self.residents()
                if not (r.busy or r.pinned or r.ref == spare) and (only is None or r.ref in only)
            ]
            for victim in in_order(self._ledger, idle, self._policy, now):
                retired = await self._evictor.retire(victim.ref, "evict")
                if isinstance(retired, Retired):
                    await self._evictor.free(retired, reason)
                    return True
        return False

    async def resize(self, budget: int) -> None:
        """Change the budget, and evict idle copies that are over it. In a turn of its own: a plan
        relies on the budget that it read."""
        async with self._turn:
            self._ledger.budget = budget
            if self._divided:
                self._ledger.whole = budget
        while self._ledger.used > budget and await self.evict_one("other processes took memory"):
            pass

    async def _try_to_correct(self, candidate: LoadCandidate, evict: bool) -> bool | None:
        """True or False as `correct`; None: try again."""
        if self._ledger.correct(candidate.ref, candidate.footprint):
            return True
        predicted = self._ledger.get(candidate.ref)
        self._ledger.release(candidate.ref)  # no other load can take the bytes in this turn
        if not evict:
            return False
        match await self._try(candidate, may_drain=True):
            case Freed():
                return True
            case Stays(never=never, stuck=stuck) if never or stuck:
                return False
        if predicted is None:
            return False
        self._ledger.reserve(candidate.ref, predicted, candidate.group)
        return None

    async def _try(self, candidate: LoadCandidate, may_drain: bool) -> Freed | Stays | Draining:
        """Plan once, evict and reserve."""
        if self._is_coming_free(candidate.footprint):
            return ANOTHER_IS_LEAVING
        decision = plan(
            self._ledger, candidate, self.residents(), self._policy, clock.monotonic(),
            max_models=self._max_models, may_drain=may_drain,
        )  # fmt: skip
        if isinstance(decision, Stays):
            return decision
        if decision.evict:
            self._evicted_at = clock.monotonic()
            # A load may be given up here (its lease is lost); an eviction once started must end.
            outcome = await asyncio.shield(self._evict(decision.evict, candidate.ref))
            if not isinstance(outcome, Freed):
                return outcome
        if self._ledger.used_with(candidate.footprint, [candidate.ref]) > self._ledger.budget:
            return ANOTHER_IS_LEAVING
        self._ledger.reserve(candidate.ref, candidate.footprint, candidate.group)
        return FREED

    def _is_coming_free(self, footprint: Footprint) -> bool:
        """Whether it does not fit yet, but will once the retiring copies are freed: nothing else is
        to be evicted for it meanwhile."""
        retiring = [copy.ref for copy in self._copies.all() if copy.retiring]
        used, budget = self._ledger.used_with, self._ledger.budget
        return bool(retiring) and used(footprint, retiring) <= budget < used(footprint)

    async def _evict(self, refs: Sequence[str], loading: str) -> Freed | Stays | Draining:
        """Evict all of `refs`, or none of them if one stays."""
        retired: list[Retired] = []
        for ref in refs:
            match await self._evictor.retire(ref, "evict"):
                case Retired() as one:
                    retired.append(one)
                case Stays(why):
                    for other in retired:
                        await self._evictor.reinstate(other)
                    return Stays(f"{ref} is {why}")
        reason = f"memory for {loading}"
        done = asyncio.ensure_future(
            asyncio.gather(*(self._evictor.free(one, reason) for one in retired))
        )
        if any(self._evictor.busy(one.copy) for one in retired):
            self._draining.add(done)
            done.add_done_callback(self._draining.discard)
            return Draining(done)
        await done
        return FREED
