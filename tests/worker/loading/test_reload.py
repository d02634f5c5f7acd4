"""After a restart: what the worker held before comes back, into free room, after any orders."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.errors import LoadFailed
from tests.helpers.cell import Cell
from tests.helpers.factories import placing
from tests.helpers.loading import LoadingWorker
from tests.helpers.wait import wait_until
from worker.loading import loader as module


@pytest.fixture
async def worker(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LoadingWorker]:
    """Registered; one load at a time."""
    monkeypatch.setattr(module, "PAUSE_S", 0.001)
    await cell.gateway()
    made = LoadingWorker(cell)
    await made.start()
    yield made
    await made.stop()


async def leases(worker: LoadingWorker, *refs: str) -> list[str]:
    """Which of these are being loaded."""
    return await worker.cell.exists(*(worker.cell.keys.load(ref) for ref in refs))


async def test_former_models_come_back_hottest_first(worker: LoadingWorker) -> None:
    """And are announced; no lease stays behind."""
    refs = [worker.publish(name, 30) for name in ("hot", "warm", "tepid")]
    await worker.loader.reload(refs)
    assert worker.loaded == ["hot", "warm", "tepid"]
    assert [await worker.holders(ref) for ref in refs] == [[b"w1"]] * 3
    assert await leases(worker, *refs) == []


async def test_what_finds_no_free_room_stays_away(worker: LoadingWorker) -> None:
    """Nothing is evicted for it, no load is claimed, and a smaller one may still fit."""
    refs = [worker.publish("hot", 70), worker.publish("large", 50), worker.publish("small", 30)]
    await worker.loader.reload(refs)
    assert worker.loaded == ["hot", "small"]
    assert not worker.models["hot"].unloaded
    assert await leases(worker, *refs) == []


async def test_what_proves_too_large_gives_its_lease_back(worker: LoadingWorker) -> None:
    """Nobody is told that it cannot be loaded: who waits for it gets an order, which evicts."""
    hot, grown = worker.publish("hot", 60), worker.publish("grown", 30)
    worker.sizes["grown"] = 50
    await worker.loader.reload([hot, grown])
    assert worker.loaded == ["hot", "grown"]
    assert worker.models["grown"].unloaded and not worker.models["hot"].unloaded
    assert worker.parts.ledger.used == 60

    async def given_back() -> bool:
        return await leases(worker, grown) == []

    await wait_until(given_back)
    (placed,) = await worker.cell.place(placing(ref=grown))
    assert placed.status == "parked" and len(await worker.cell.orders()) == 1


async def test_who_parked_during_a_reload_is_served_by_it(worker: LoadingWorker) -> None:
    """Its lease is one like any other."""
    ref = worker.publish("hot", 60)
    worker.go.clear()
    reloading = asyncio.create_task(worker.loader.reload([ref]))
    await wait_until(lambda: worker.loaded)
    (placed,) = await worker.cell.place(placing(ref=ref))
    assert placed.status == "parked" and await worker.cell.orders() == []
    worker.go.set()
    await reloading
    assert len(await worker.cell.read("w1")) == 1


async def test_what_another_worker_loads_is_left_to_it(worker: LoadingWorker) -> None:
    """So is what was published again, and what is here already; the next one comes back."""
    theirs, gone, hot = (worker.publish(name, 30) for name in ("theirs", "gone", "hot"))
    other = await worker.cell.worker("w2")
    await worker.cell.place(placing(ref=theirs))
    await worker.cell.claim("w2", other, theirs)
    worker.publish("gone", 31)
    await worker.loader.reload([theirs, gone, "no ref at all", hot, hot])
    assert worker.loaded == ["hot"]


async def test_a_reload_that_fails_is_over_and_the_next_one_begins(worker: LoadingWorker) -> None:
    """With a cause that stands for a while, as after any load."""
    broken, hot = worker.publish("broken", 30), worker.publish("hot", 30)
    worker.errors["broken"] = LoadFailed("its graph makes no sense")
    await worker.loader.reload([broken, hot])
    assert await worker.holders(hot) == [b"w1"]
    assert await leases(worker, broken) == []
    (placed,) = await worker.cell.place(placing(ref=broken))
    assert (placed.status, placed.detail) == ("unloadable", "load_failed its graph makes no sense")


async def test_orders_come_before_reloads(worker: LoadingWorker) -> None:
    """A reload waits for a slot that is free, and a moment, in which an order may take it."""
    ordered, hot = worker.publish("ordered", 30), worker.publish("hot", 30)
    worker.go.clear()
    await worker.cell.place(placing(ref=ordered))
    assert await worker.loader.accept(ordered, await worker.cell.token(ordered)) == "claimed"
    reloading = asyncio.create_task(worker.loader.reload([hot]))
    await wait_until(lambda: worker.loaded == ["ordered"])
    await asyncio.sleep(0.05)
    assert worker.loaded == ["ordered"] and await leases(worker, hot) == []
    worker.go.set()
    await reloading
    assert worker.loaded == ["ordered", "hot"]


async def test_a_worker_that_drains_reloads_no_more(worker: LoadingWorker) -> None:
    """What it would load, it would have to hand back."""
    worker.parts.membership.state = "draining"
    await worker.loader.reload([worker.publish("hot", 30)])
    assert worker.loaded == []
