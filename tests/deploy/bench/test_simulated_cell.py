"""A cell of the simulator: its rules, and that the scripts of a real cell do the same."""

from __future__ import annotations

import random

import numpy as np

from deploy.bench.simulated_cell import SimulatedCell, Times
from tests.helpers.cell import Cell
from tests.helpers.factories import placing

TIMES = Times(service_s=1.0, load_s=2.0, patience_s=10.0)
WORKERS, MODELS, COPIES, REQUESTS = 40, 300, 2, 1200
LONG = 600_000  # ms


class RealCell:
    """Workers that hold COPIES models each, played by a test over the real scripts."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._dice = random.Random(2)
        self._epochs: dict[str, str] = {}
        self._held: dict[str, list[str]] = {}  # the one that was used last at the end
        self.warm = 0

    async def start(self) -> None:
        """Register the workers."""
        for number in range(WORKERS):
            name = f"w{number}"
            self._epochs[name] = await self._cell.worker(name, lease_ms=LONG)
            self._held[name] = []

    async def ask(self, model: int) -> None:
        """A request, to its end."""
        ref = f"model-{model}:1:0123456789ab"
        (placed,) = await self._cell.place(placing(ref=ref, timeout_ms=LONG, reply=""))
        worker = placed.detail
        if placed.status == "placed":
            self.warm += 1
        else:
            worker = await self._load(ref)
        entries = await self._cell.read(worker)
        assert len(entries) == 1
        await self._cell.begin(worker, self._epochs[worker], entries)
        await self._cell.complete(worker, self._epochs[worker], entries)
        self._held[worker].remove(ref)
        self._held[worker].append(ref)

    async def _load(self, ref: str) -> str:
        """The worker that pops the order is any that is idle."""
        worker = self._dice.choice(list(self._held))
        epoch = self._epochs[worker]
        token = await self._cell.claim(worker, epoch, ref)
        if len(self._held[worker]) == COPIES:
            oldest = self._held[worker].pop(0)
            await self._cell.scripts.retire(worker, epoch, oldest, "", "evict")
            await self._cell.scripts.freed(worker, oldest)
        await self._cell.scripts.announce(worker, epoch, ref, token, "device 1")
        self._held[worker].append(ref)
        return worker


async def test_the_scripts_of_a_cell_find_as_many_models_warm(cell: Cell) -> None:
    """One request at a time, so no copy is there twice. Which worker is idle is chance."""
    ranks = np.arange(1, MODELS + 1) ** -0.8
    trace = np.random.default_rng(1).choice(MODELS, REQUESTS, p=ranks / ranks.sum()).tolist()
    real, model = RealCell(cell), SimulatedCell(WORKERS, COPIES, TIMES, seed=1)
    await real.start()
    for at, asked in enumerate(trace):
        await real.ask(asked)
        model.ask(asked, 1.0, at * 100.0)
    assert 0.3 < real.warm / REQUESTS < 0.8
    assert abs(real.warm - model.counts.warm) < 0.05 * REQUESTS


def test_a_worker_evicts_what_was_not_used_for_the_longest_time() -> None:
    cell = SimulatedCell(1, 2.0, TIMES, seed=1)
    for at, model in enumerate([1, 2, 1, 3, 1, 2]):
        cell.ask(model, 1.0, at * 100.0)
    assert (cell.counts.warm, cell.counts.loads, cell.held) == (2, 4, 2.0)
    assert cell.size_held({1}) == 1.0


def test_a_busy_model_gets_copies_and_what_waits_too_long_is_refused() -> None:
    one, many = (SimulatedCell(number, 10.0, TIMES, seed=1) for number in (1, 20))
    for number in range(400):
        for cell in (one, many):
            cell.ask(7, 1.0, number / 4)
    assert one.counts.refused > 200
    assert many.counts.refused == 0
    assert 4 <= many.counts.loads <= 20
