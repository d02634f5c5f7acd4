"""Memory that nobody answers for, and memory that others took."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.footprint import Footprint
from worker.device.thread import DeviceThread
from worker.residency.ledger import Ledger
from worker.residency.memory_monitor import SAMPLES, Leak, MemoryMonitor, budget_after

MB = 1_000_000
LIMIT, BUDGET = 100 * MB, 1000 * MB


def leak_after(*looks: tuple[int, bool]) -> Leak:
    """What looks at so many MB unaccounted for, settled or not, have shown."""
    leak = Leak()
    for megabytes, settled in looks:
        leak = leak.observed(megabytes * MB, settled)
    return leak


def test_what_was_there_from_the_beginning_is_normal() -> None:
    """The interpreter, torch, and what the first calls set up."""
    leak = leak_after(*[(300, True)] * SAMPLES)
    assert (leak.now, leak.sure) == (0, 0)


def test_what_stays_beyond_the_normal_is_a_leak() -> None:
    """Of what all of the last looks showed, the least."""
    leak = leak_after((300, True), *[(450 + n, True) for n in range(SAMPLES)])
    assert leak.sure == 150 * MB
    assert leak.now == (150 + SAMPLES - 1) * MB


def test_a_spike_is_none() -> None:
    """Nor what almost all looks show."""
    leak = leak_after((300, True), *[(900, True)] * (SAMPLES - 1))
    assert leak.sure == 0
    assert leak.observed(310 * MB, True).sure == 10 * MB
    assert leak.observed(900 * MB, True).sure == 600 * MB


def test_a_slow_leak_is_not_taken_for_normal() -> None:
    """The normal never rises, however slowly it grows."""
    leak = leak_after(*[(300 + n, True) for n in range(200)])
    assert leak.sure == (200 - SAMPLES) * MB


def test_while_a_load_is_under_way_nothing_is_taken_for_normal() -> None:
    """Its reservation counts, its memory is not there yet. A leak is seen all the same."""
    leak = leak_after((300, True), (0, False), *[(450, False)] * SAMPLES)
    assert leak.least == 300 * MB
    assert leak.sure == 150 * MB


def test_before_the_first_model_nothing_is_known() -> None:
    """Libraries are set up by the first calls."""
    assert leak_after(*[(50, False)] * 10, (400, True)).now == 0


@given(st.lists(st.tuples(st.integers(-50, 2000), st.booleans()), max_size=30))
def test_what_is_sure_was_seen_in_every_one_of_the_last_looks(
    looks: list[tuple[int, bool]],
) -> None:
    """Never negative, never more than any of them."""
    leak = leak_after(*looks)
    assert 0 <= leak.sure <= leak.now or leak.sure == 0
    if leak.sure:
        assert leak.sure <= min(max(0, m) for m, _ in looks[-SAMPLES:]) * MB


@pytest.mark.parametrize(
    ("budget", "rooms", "after"),
    [
        (100, (100, 100), 100),
        (100, (50,), 100),  # one look decides nothing
        (100, (100, 50), 100),
        (100, (50, 60), 60),
        (60, (60, 100), 60),
        (60, (100, 100, 100, 100), 60),  # who has gone may be back in a moment
        (60, (100, 90, 100, 100, 100), 90),
        (60, (100, 61, 30, 100, 100), 60),
        (60, (100, 100, 100, 30, 40), 40),
    ],
)
def test_the_budget_follows_what_there_is(budget: int, rooms: tuple[int, ...], after: int) -> None:
    """Down after two looks, up after five, not for what comes and goes."""
    assert budget_after(budget, rooms) == after


# The loop ---------------------------------------------------------------------------------------


class Machine:
    """A device and a worker as the watch sees them: figures to set, and what it was told."""

    def __init__(self) -> None:
        self.held, self.kept, self.known = 300 * MB, 0, 0
        self.free, self.settled = BUDGET, True
        self.trims = self.relieved = 0
        self.may_recycle = True
        self.asked: list[str] = []
        self.sizes: list[int] = []
        self.ledger = Ledger(BUDGET)
        self.thread = DeviceThread()

    def allocated(self) -> int:
        return self.held + self.kept

    def trim(self) -> None:
        self.trims += 1
        self.kept = 0

    def relieve(self) -> int:
        self.relieved += 1
        return 0

    def recycle(self, why: str) -> bool:
        self.asked.append(why)
        return self.may_recycle

    async def resize(self, budget: int) -> None:
        self.sizes.append(budget)
        self.ledger.budget = budget

    def watch(self, limit: int = LIMIT) -> MemoryMonitor:
        return MemoryMonitor(
            self, self.thread, self.ledger, limit, accounted=lambda: self.known,
            settled=lambda: self.settled, capacity=lambda: self.free, recycle=self.recycle,
            resize=self.resize,
        )  # fmt: skip


@pytest.fixture
async def machine() -> AsyncIterator[Machine]:
    made = Machine()
    yield made
    made.thread.close()


async def test_a_process_that_leaks_asks_to_be_replaced(machine: Machine) -> None:
    """With both figures. What models take is none of it."""
    watch = machine.watch()
    await watch.run_once()
    machine.held, machine.known = 800 * MB, 380 * MB
    for _ in range(SAMPLES):
        assert machine.asked == []
        assert await watch.run_once() == watch.unaccounted == 120 * MB
    assert machine.asked == ["120 MB that no model accounts for, at most 100 MB are allowed"]


async def test_while_it_is_held_back_it_asks_again(machine: Machine) -> None:
    """Each time it looks; its parent, or the time, decides."""
    machine.may_recycle = False
    watch = machine.watch()
    await watch.run_once()
    machine.held = 600 * MB
    for _ in range(SAMPLES + 2):
        await watch.run_once()
    assert len(machine.asked) == 3


async def test_what_an_allocator_only_keeps_is_given_back_first(machine: Machine) -> None:
    """And then it is no leak."""
    watch = machine.watch()
    await watch.run_once()
    for _ in range(SAMPLES):
        machine.kept = 500 * MB
        assert await watch.run_once() == 0
    assert (machine.trims, machine.asked) == (SAMPLES, [])


async def test_a_device_that_is_short_of_memory_is_relieved_beside_its_work(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not on the device thread, where every batch would wait for it."""
    seen: list[str] = []
    monkeypatch.setattr(machine, "relieve", lambda: seen.append(threading.current_thread().name))
    await machine.watch().run_once()
    assert len(seen) == 1 and not seen[0].startswith("device")


async def test_cycles_that_loads_leave_do_not_gather(machine: Machine) -> None:
    """Python's own collector rests for long in our processes, in this test for ever."""
    gc.disable()
    try:
        made = Machine()
        made.thread.close()
        made.me = made  # type: ignore[attr-defined]
        left = weakref.ref(made)
        del made
        assert left() is not None
        await machine.watch().run_once()
        assert left() is None
    finally:
        gc.enable()


async def test_a_limit_of_zero_asks_for_nothing(machine: Machine) -> None:
    """The figure is still told."""
    watch = machine.watch(limit=0)
    await watch.run_once()
    machine.held = 9000 * MB
    for _ in range(SAMPLES):
        assert await watch.run_once() == 8700 * MB
    assert (machine.asked, machine.trims) == ([], 0)


async def test_memory_that_others_took_is_taken_out_of_the_budget(machine: Machine) -> None:
    """And given back when they have gone for a while."""
    watch = machine.watch()
    machine.free = 400 * MB
    for _ in range(3):
        await watch.run_once()
    assert machine.ledger.budget == 400 * MB
    machine.free = BUDGET
    for _ in range(SAMPLES):
        await watch.run_once()
    assert machine.ledger.budget == BUDGET
    assert machine.sizes == [400 * MB, BUDGET]


async def test_who_is_over_its_budget_is_told_until_it_is_not(machine: Machine) -> None:
    """What was in use at the first time may be idle at the next."""
    watch = machine.watch()
    machine.ledger.reserve("a:1:0123456789ab", Footprint(frozenset(), 500 * MB))
    machine.free = 400 * MB
    for _ in range(4):
        await watch.run_once()
    machine.ledger.release("a:1:0123456789ab")
    await watch.run_once()
    assert machine.sizes == [400 * MB] * 3


async def test_less_than_nothing_is_nothing(machine: Machine) -> None:
    """Others may hold more than there should be."""
    watch = machine.watch()
    machine.free = -5 * MB
    for _ in range(2):
        await watch.run_once()
    assert machine.ledger.budget == 0
