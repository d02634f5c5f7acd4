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


async def learned(worker: LoadingWorker, ref: str, own: int) -> None:
    """Another worker of the same device class has measured a copy of so many bytes."""
    key = worker.cell.keys.stats(ref)
    await worker.cell.client.hset(key, "own:cpu", own)
    await worker.cell.client.expire(key, 60)


async def test_a_size_measured_on_a_larger_worker_refuses_no_model_that_fits(
    worker: LoadingWorker,
) -> None:
    """Its calls made the copy grow there, or it has more threads. What fits counts until the copy
    is measured here; then everybody plans with that."""
    resident, ref = worker.publish("a", 30), worker.publish("b", 60)
    await worker.load(resident)
    await learned(worker, ref, 10 * BUDGET)
    worker.go.clear()
    await order(worker, ref)
    await wait_until(lambda: worker.loaded == ["a", "b"])
    assert worker.parts.ledger.used == 90 and worker.parts.copies.get(resident) is None
    worker.go.set()
    await wait_until(lambda: not worker.loader.tasks)
    assert await worker.holders(ref) == [b"w1"] and worker.parts.ledger.used == 60
    assert await worker.cell.client.hget(worker.cell.keys.stats(ref), "own:cpu") == b"60"


async def test_beside_a_pinned_copy_no_more_than_the_files_say_need_be_free(
    worker: LoadingWorker,
) -> None:
    """The copy is measured all the same."""
    pinned, ref = worker.publish("a", 30), worker.publish("b", 60)
    await worker.load(pinned)
    await worker.parts.scripts.set_policy(pinned, {"pin": "1"})
    await learned(worker, ref, 10 * BUDGET)
    await worker.load(ref)
    assert worker.parts.copies.get(pinned) and worker.parts.ledger.used == 90


async def test_a_model_that_is_too_large_elsewhere_is_offered_to_the_others_first(
    worker: LoadingWorker,
) -> None:
    """Who measured it has room for it."""
    ref = worker.publish("b", 60)
    await worker.cell.worker("w2")
    await learned(worker, ref, 10 * BUDGET)
    await order(worker, ref)
    await wait_until(lambda: not worker.loader.tasks)
    load = await worker.cell.client.hgetall(worker.cell.keys.load(ref))
    assert load[b"refused"].split() == [b"w1"] and load[b"worker"] == b"" and not worker.loaded


async def test_what_was_measured_here_to_be_too_large_is_not_tried_again(
    worker: LoadingWorker,
) -> None:
    """Its files are small, and its copy is not."""
    ref = worker.publish("b", 60)
    worker.sizes["b"] = 10 * BUDGET
    for _ in range(2):
        await learned(worker, ref, 10 * BUDGET)
        await worker.cell.client.delete(worker.cell.keys.unloadable(ref))
        await order(worker, ref)
        await wait_until(lambda: not worker.loader.tasks)
    assert worker.loaded == ["b"] and worker.parts.ledger.used == 0
    assert len(await worker.cell.replies()) == 2


async def test_a_size_measured_on_a_smaller_worker_is_corrected(worker: LoadingWorker) -> None:
    """It takes more here: what does not fit beside it leaves."""
    resident, ref = worker.publish("a", 60), worker.publish("b", 60)
    await worker.load(resident)
    await learned(worker, ref, 10)
    await worker.load(ref)
    assert worker.parts.ledger.used == 60 and worker.parts.copies.get(resident) is None
