"""What calls of a model take, known before its load: counted, offered, run alone, never refused."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.helpers.cell import Cell
from tests.helpers.loading import BUDGET, LoadingWorker
from tests.helpers.wait import wait_until
from tests.worker.loading.test_loader import order
from worker.loading import loader as module
from worker.residency.call_peaks import FEW_CALLS


@pytest.fixture
async def worker(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LoadingWorker]:
    """Registered."""
    monkeypatch.setattr(module, "PAUSE_S", 0.001)
    await cell.gateway()
    made = LoadingWorker(cell)
    await made.start()
    yield made
    await made.stop()


async def test_what_calls_are_known_to_take_counts_at_a_load(worker: LoadingWorker) -> None:
    """It is in the footprint."""
    ref = worker.publish("a", 30)
    for _ in range(FEW_CALLS):
        worker.parts.peaks.found(ref, 20, size=1)
    await order(worker, ref)
    await wait_until(lambda: worker.loader.loads)
    assert worker.parts.ledger.used == 50


async def test_a_model_whose_calls_do_not_fit_is_offered_to_the_others(
    worker: LoadingWorker,
) -> None:
    """It sends nobody away here while a worker is left that may have more room."""
    resident, hungry = worker.publish("a", 30), worker.publish("b", 60)
    await worker.cell.worker("w2")
    await order(worker, resident)
    await wait_until(lambda: worker.loader.loads)
    for _ in range(FEW_CALLS):
        worker.parts.peaks.found(hungry, BUDGET, size=1)
    await order(worker, hungry)
    await wait_until(lambda: not worker.loader.tasks)
    assert worker.loaded == ["a"] and await worker.holders(resident) == [b"w1"]
    load = await worker.cell.client.hgetall(worker.cell.keys.load(hungry))
    assert load[b"refused"].split() == [b"w1"] and load[b"worker"] == b""
    assert await worker.cell.replies() == []


async def test_where_no_other_worker_is_left_it_is_loaded_and_runs_alone(
    worker: LoadingWorker,
) -> None:
    """What was measured while it answered rightly never refuses it."""
    resident, hungry = worker.publish("a", 30), worker.publish("b", 60)
    await worker.load(resident)
    for _ in range(FEW_CALLS):
        worker.parts.peaks.found(hungry, 10 * BUDGET, size=1)
    await worker.load(hungry)
    assert worker.parts.copies.get(resident) is None and worker.parts.ledger.used == 90
    copy = worker.parts.copies.get(hungry)
    assert copy and copy.last and copy.excess == 30
    assert await worker.holders(hungry) == [b"w1"]


async def test_beside_a_pinned_copy_less_of_it_is_counted(worker: LoadingWorker) -> None:
    """Its own bytes are free, and no more has to be."""
    pinned, hungry = worker.publish("a", 30), worker.publish("b", 60)
    await worker.load(pinned)
    await worker.parts.scripts.set_policy(pinned, {"pin": "1"})
    for _ in range(FEW_CALLS):
        worker.parts.peaks.found(hungry, 10 * BUDGET, size=1)
    await worker.load(hungry)
    assert worker.parts.copies.get(pinned) and worker.parts.ledger.used == 90


async def test_what_another_worker_saw_calls_take_is_planned_with(worker: LoadingWorker) -> None:
    """Before this one has run the model."""
    ref, cell = worker.publish("a", 30), worker.cell
    await cell.client.hset(cell.keys.stats(ref), "peak:cpu", "25 8")
    await worker.load(ref)
    assert worker.parts.ledger.used == 55
