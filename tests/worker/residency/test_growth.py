"""What a copy keeps from its calls: noted, seen again, booked; and what gives way to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import numpy as np
import pytest

from shared.envelope import Outcome
from tests.helpers.cell import Cell
from tests.helpers.evicting import Model, hold, made_evictor
from tests.helpers.factories import OTHER_REF, REF, tensor
from worker.residency.call_peaks import FEW_CALLS
from worker.residency.context import WorkerContext
from worker.residency.copies import Copy
from worker.residency.gauge import Gauge, Span
from worker.residency.growth import NOTICED, Growth, watched
from worker.residency.ledger import Ledger
from worker.residency.memory_manager import MemoryManager

ROOM = 100 * NOTICED


@dataclass
class Bench:
    """A worker with room for 100 units; each of its two copies takes 10. A unit is the least that
    is noticed."""

    parts: WorkerContext
    growth: Growth
    live: list[int]

    @property
    def copy(self) -> Copy:
        found = self.parts.copies.get(REF)
        assert found is not None
        return found

    def call(self, units: float, size: int = 8, outputs: int = 0) -> None:
        """A call that leaves so many units allocated, and outputs of so many bytes."""

        def call() -> list[Outcome]:
            self.live[0] += round(units * NOTICED) + outputs
            return [Outcome([tensor(np.zeros(outputs, "u1"))])]

        watched(self.parts.gauge, self.copy, size, call)
        self.live[0] -= outputs

    @property
    def entry(self) -> int:
        """What the ledger says of the copy, in units; 0 if it is gone."""
        found = self.parts.ledger.get(REF)
        return found.own // NOTICED if found else 0


@pytest.fixture
async def bench(parts: WorkerContext, cell: Cell) -> AsyncIterator[Bench]:
    live = [500 * NOTICED]
    made = replace(parts, ledger=Ledger(ROOM), gauge=Gauge(lambda: live[0]))
    for ref in (REF, OTHER_REF):
        model = await hold(made, ref, 10 * NOTICED)
        model.bytes_resident = 10 * NOTICED
    evictor = made_evictor(made, cell)
    yield Bench(made, Growth(made, MemoryManager(made, evictor), evictor), live)


async def test_what_a_call_keeps_is_booked(bench: Bench, cell: Cell) -> None:
    """In the ledger, for the copy, and for the next load anywhere."""
    bench.call(30)
    assert await bench.growth.run_once() == 1
    assert bench.entry == 40 == bench.copy.footprint.own // NOTICED
    assert bench.copy.model.bytes_resident == 40 * NOTICED
    known = await cell.client.hget(cell.keys.stats(REF), "own:cpu")
    assert int(known) == 40 * NOTICED
    assert await bench.growth.run_once() == 0 and bench.entry == 40


async def test_only_a_call_larger_than_any_before_is_measured(bench: Bench) -> None:
    """What another copy's requests left meanwhile is not found in a call that is no larger."""
    bench.call(0, size=100)
    bench.call(30, size=100)
    bench.call(30, size=7)
    assert await bench.growth.run_once() == 0 and bench.entry == 10
    bench.call(30, size=101)
    assert await bench.growth.run_once() == 1 and bench.entry == 40


async def test_outputs_and_little_are_not_kept(bench: Bench) -> None:
    """Outputs wait for their caller."""
    bench.call(0.9, size=1)
    bench.call(0, size=2, outputs=5 * NOTICED)
    assert bench.copy.retained is None
    assert await bench.growth.run_once() == 0 and bench.entry == 10


async def test_what_is_gone_a_moment_later_was_not_kept(bench: Bench) -> None:
    """Then the next call is measured again."""
    bench.call(30, size=100)
    bench.live[0] -= 30 * NOTICED
    assert await bench.growth.run_once() == 0 and bench.entry == 10
    bench.call(20, size=50)
    assert await bench.growth.run_once() == 1 and bench.entry == 30


async def test_beside_a_load_nothing_is_told(bench: Bench) -> None:
    """Neither of the copy nor of the load; and what was kept before is booked after it."""
    load = Span()
    bench.parts.gauge.begin(load)
    bench.call(30)
    assert bench.copy.retained is None
    assert bench.parts.gauge.end(load) is None
    bench.call(30)
    later = Span()
    bench.parts.gauge.begin(later, look=False)
    assert await bench.growth.run_once() == 0 and bench.copy.retained
    bench.parts.gauge.close(later)
    assert await bench.growth.run_once() == 1 and bench.entry == 40


async def test_others_leave_for_what_has_grown(bench: Bench) -> None:
    """Reserved and resident bytes stay within the budget."""
    bench.call(85)
    assert await bench.growth.run_once() == 1
    assert bench.parts.copies.get(OTHER_REF) is None
    assert bench.entry == 95 and bench.parts.ledger.used <= ROOM


async def test_what_grows_over_the_budget_leaves_and_nobody_else(bench: Bench, cell: Cell) -> None:
    """One caller's huge call refuses it to nobody: what is known of its loads stays as it was."""
    own = {"own:cpu": 10 * NOTICED}
    member = bench.parts.membership
    await bench.parts.scripts.record_stats(member.worker, member.epoch, REF, own)
    bench.call(95)
    await bench.growth.run_once()
    assert bench.parts.copies.get(REF) is None and bench.parts.copies.get(OTHER_REF)
    assert bench.parts.ledger.used == 10 * NOTICED
    assert int(await cell.client.hget(cell.keys.stats(REF), "own:cpu")) == 10 * NOTICED


async def test_a_pinned_copy_that_grows_over_the_budget_stays(bench: Bench) -> None:
    """The ledger keeps within the budget."""
    await bench.parts.scripts.set_policy(REF, {"pin": "1"})
    bench.call(95)
    await bench.growth.run_once()
    assert bench.copy and bench.parts.ledger.used <= ROOM


async def test_an_error_of_the_call_is_the_callers(bench: Bench) -> None:
    """And what it measured is closed."""

    def fail() -> list[Outcome]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        watched(bench.parts.gauge, bench.copy, 8, fail)
    assert bench.parts.gauge.quiet
    assert isinstance(bench.copy.model, Model)


async def test_what_calls_take_beyond_what_they_may_counts_as_the_copys_own(bench: Bench) -> None:
    """So others leave for it once, and not at every load; it counts no longer when it is over."""
    peaks = bench.parts.peaks
    for _ in range(FEW_CALLS):
        peaks.found(REF, 50 * NOTICED, size=8)
    assert await bench.growth.run_once() == 1
    assert bench.entry == 60 and bench.parts.copies.get(OTHER_REF) is not None
    assert await bench.growth.run_once() == 0
    bench.call(5)
    await bench.growth.run_once()
    assert bench.entry == 65 and bench.copy.model.bytes_resident == 15 * NOTICED
    peaks._peaks.clear()
    assert await bench.growth.run_once() == 1 and bench.entry == 15


async def test_a_model_whose_calls_never_fit_leaves_and_the_others_stay(
    bench: Bench, cell: Cell
) -> None:
    """Another worker may have more room, and learns of it when it loads the model."""
    for _ in range(FEW_CALLS):
        bench.parts.peaks.found(REF, 95 * NOTICED, size=8)
    await bench.growth.run_once()
    assert bench.parts.copies.get(REF) is None and bench.parts.copies.get(OTHER_REF)
    known = await cell.client.hget(cell.keys.stats(REF), "peak:cpu")
    assert known == f"{95 * NOTICED} 8".encode()


async def test_where_no_other_worker_is_left_it_stays_and_takes_what_there_is(bench: Bench) -> None:
    """A model that has answered is not refused for what was measured meanwhile: it runs alone."""
    bench.copy.last = True
    for _ in range(FEW_CALLS):
        bench.parts.peaks.found(REF, 950 * NOTICED, size=8)
    assert await bench.growth.run_once() == 1
    assert bench.entry == 90 and bench.parts.copies.get(OTHER_REF) is not None  # 10 and 90: it fits
    assert await bench.growth.run_once() == 0
    bench.call(20)
    await bench.growth.run_once()
    assert bench.entry == 90 and bench.copy.model.bytes_resident == 30 * NOTICED
    bench.parts.peaks._peaks.clear()
    assert await bench.growth.run_once() == 1 and bench.entry == 30


async def test_what_calls_take_sends_no_copy_away_that_must_stay(bench: Bench) -> None:
    """Beside a pinned one the model goes on as before."""
    await bench.parts.scripts.set_policy(OTHER_REF, {"pin": "1"})
    for _ in range(FEW_CALLS):
        bench.parts.peaks.found(REF, 85 * NOTICED, size=8)
    await bench.growth.run_once()
    assert bench.parts.copies.get(REF) and bench.parts.copies.get(OTHER_REF) and bench.entry == 10
