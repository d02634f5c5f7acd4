"""Loads that were ordered: claimed, made room for, warmed up, announced; or refused, or failed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared import retry, statuses
from shared.errors import LoadFailed, Unavailable
from tests.helpers.cell import MAX_ATTEMPTS, Cell
from tests.helpers.factories import placing
from tests.helpers.loading import BUDGET, LoadingWorker
from tests.helpers.wait import wait_until
from worker.loading import loader as module
from worker.loading.warm_calls import NUMBER


@pytest.fixture
async def worker(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LoadingWorker]:
    """Registered."""
    monkeypatch.setattr(module, "PAUSE_S", 0.001)
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.001)
    await cell.gateway()
    made = LoadingWorker(cell)
    await made.start()
    yield made
    await made.stop()


async def order(worker: LoadingWorker, ref: str) -> str:
    """A request parks and the worker takes the order; the claim."""
    await worker.cell.place(placing(ref=ref))
    return await worker.loader.accept(ref, await worker.cell.token(ref))


async def failure(worker: LoadingWorker) -> str:
    """What the caller is told."""

    async def told() -> bool:
        return bool(await worker.cell.replies())

    await wait_until(told)
    return (await worker.cell.replies())[0]["outcome"].decode()


async def test_an_order_becomes_an_announced_copy(worker: LoadingWorker) -> None:
    """What was parked for it is on the work stream; the lease is over; its bytes are counted."""
    ref = worker.publish("a", 60)
    assert await order(worker, ref) == "claimed"
    await wait_until(lambda: worker.loader.loads == 1 and not worker.loader.tasks)
    assert await worker.holders(ref) == [b"w1"]
    assert len(await worker.cell.read("w1")) == 1
    assert await worker.cell.exists(worker.cell.keys.load(ref)) == []
    assert (worker.parts.ledger.used, worker.cache.held) == (60, 0)
    assert worker.alone == [False]


async def test_a_warm_up_counts_as_running_but_as_no_batch(worker: LoadingWorker) -> None:
    """If it never returns the process is ended, and no request is charged for it."""
    await order(worker, worker.publish("a", 60))
    await wait_until(lambda: worker.loader.loads)
    assert worker.ran_as == [NUMBER]
    assert worker.parts.progress.running == 0


async def test_a_suspect_is_loaded_while_nothing_else_runs(worker: LoadingWorker) -> None:
    """An earlier load of it killed a device process."""
    ref, member = worker.publish("a", 60), worker.parts.membership
    await worker.cell.place(placing(ref=ref))
    await worker.cell.claim("w1", member.epoch, ref)
    await worker.cell.scripts.fence_worker("w1", member.epoch, 0, "it was killed", MAX_ATTEMPTS)
    await member.register()
    assert await worker.loader.accept(ref, await worker.cell.token(ref)) == "suspect"
    await wait_until(lambda: worker.loader.loads)
    assert worker.alone == [True]
    async with worker._alone():  # it is not held any more
        pass


async def test_a_load_that_fails_gives_the_cause(worker: LoadingWorker) -> None:
    """Nothing of it stays: neither bytes, nor files, nor the lease."""
    ref = worker.publish("a", 60)
    worker.errors["a"] = LoadFailed("its graph makes no sense")
    await order(worker, ref)
    assert await failure(worker) == "load_failed its graph makes no sense"
    await wait_until(lambda: not worker.loader.tasks)
    assert (worker.parts.ledger.used, worker.cache.held) == (0, 0)
    assert await worker.cell.exists(worker.cell.keys.load(ref)) == []


async def test_a_worker_that_loads_nothing_is_suspect_until_it_loads_something(
    worker: LoadingWorker,
) -> None:
    """Whatever the cause, once several models fail."""
    refs = [worker.publish(name, 60) for name in "abc"]
    errors: list[Exception] = [LoadFailed("no such operator"), RuntimeError("a bug")] * 2
    for ref, error in zip([*refs[:2], *refs[:2]], errors, strict=True):
        assert worker.parts.health.state.health == statuses.HEALTHY
        worker.errors[ref[0]] = error
        await worker.cell.client.delete(worker.cell.keys.unloadable(ref))
        await order(worker, ref)
        await wait_until(lambda: not worker.loader.tasks)
    assert worker.parts.health.state.health == statuses.SUSPECT
    await order(worker, refs[2])
    await wait_until(lambda: worker.loader.loads == 1 and not worker.loader.tasks)
    assert worker.parts.health.state.health == statuses.HEALTHY


async def test_what_can_never_fit_is_refused(worker: LoadingWorker) -> None:
    """The caller is told the budget, as no other worker is there."""
    resident = worker.publish("a", 60)
    await order(worker, resident)
    await wait_until(lambda: worker.loader.loads)
    await order(worker, worker.publish("b", BUDGET + 1))
    assert "budget" in await failure(worker)
    assert worker.loaded == ["a"] and await worker.holders(resident) == [b"w1"]


async def test_an_order_evicts_for_its_model(worker: LoadingWorker) -> None:
    """As much as it needs."""
    old, new = worker.publish("a", 60), worker.publish("b", 60)
    await order(worker, old)
    await wait_until(lambda: worker.loader.loads == 1)
    await worker.cell.complete("w1", worker.parts.membership.epoch, await worker.cell.read())
    await order(worker, new)
    await wait_until(lambda: worker.loader.loads == 2 and not worker.loader.tasks)
    assert (await worker.holders(old), await worker.holders(new)) == ([], [b"w1"])
    assert worker.models["a"].unloaded and worker.parts.ledger.used == 60


@pytest.mark.parametrize("script", ["announce", "fail_load", "refuse_load"])
async def test_a_redis_that_does_not_answer_is_asked_again(
    worker: LoadingWorker, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    """However the load ends, it ends so."""
    failures, real = [Unavailable("no answer")] * 3, getattr(worker.cell.scripts, script)

    async def unreliable(*args: object, **named: object) -> object:
        if failures:
            raise failures.pop()
        return await real(*args, **named)

    monkeypatch.setattr(worker.cell.scripts, script, unreliable)
    ref = worker.publish("a", BUDGET + 1 if script == "refuse_load" else 60)
    if script == "fail_load":
        worker.errors["a"] = LoadFailed("no")
    await order(worker, ref)
    await wait_until(lambda: not failures and not worker.loader.tasks)
    assert await worker.cell.exists(worker.cell.keys.load(ref)) == []
    assert bool(worker.loader.loads) == (script == "announce")


async def test_a_copy_that_came_too_late_is_freed_although_its_load_is_given_up(
    worker: LoadingWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease is found lost while the copy, which was not announced, is being evicted."""
    evicting, go, retire = asyncio.Event(), asyncio.Event(), worker.cell.scripts.retire

    async def slow(*args: str) -> str:
        evicting.set()
        await go.wait()
        return await retire(*args)

    async def stale(*args: str) -> int:
        return -1

    monkeypatch.setattr(worker.cell.scripts, "retire", slow)
    monkeypatch.setattr(worker.cell.scripts, "announce", stale)
    ref = worker.publish("a", 60)
    await order(worker, ref)
    await evicting.wait()
    for task in worker.loader.tasks:
        task.cancel()
    await wait_until(lambda: not worker.loader.tasks)
    go.set()
    await wait_until(lambda: worker.parts.copies.get(ref) is None)
    assert worker.models["a"].unloaded and worker.parts.ledger.used == 0


async def test_a_copy_that_came_too_late_is_not_given_to_the_next_load(
    worker: LoadingWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its requests would be on a worker that frees it at this moment: it is loaded again."""
    announcing, go, announce = asyncio.Event(), asyncio.Event(), worker.cell.scripts.announce

    async def late(*args: Any) -> int:
        if announcing.is_set():
            return await announce(*args)
        announcing.set()
        await go.wait()
        return -1

    monkeypatch.setattr(worker.cell.scripts, "announce", late)
    ref = worker.publish("a", 60)
    await order(worker, ref)
    await announcing.wait()
    await worker.cell.client.delete(worker.cell.keys.load(ref))
    await order(worker, ref)
    await wait_until(lambda: len(worker.loader.tasks) == 2)
    go.set()
    await wait_until(lambda: not worker.loader.tasks)
    assert worker.loaded == ["a", "a"] and not worker.models["a"].unloaded
    assert await worker.cell.client.hkeys(worker.cell.keys.holders(ref)) == [b"w1"]


async def test_a_load_that_is_given_up_holds_its_bytes_until_its_thread_has_ended(
    worker: LoadingWorker,
) -> None:
    """Another may not take the room while the thread, which cannot be stopped, fills it."""
    worker.go.clear()
    await order(worker, worker.publish("a", 60))
    await wait_until(lambda: worker.loaded == ["a"])
    (task,) = worker.loader.tasks
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=0.05)
    assert (done, worker.parts.ledger.used, worker.cache.held) == (set(), 60, 1)
    worker.go.set()
    await wait_until(task.done)
    assert worker.models["a"].unloaded
    assert (worker.parts.ledger.used, worker.cache.held) == (0, 0)


async def test_files_that_vanish_during_a_load_are_the_workers_fault(
    worker: LoadingWorker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever a runtime makes of it: another worker is asked, and no class of devices is unfit."""
    ref = worker.publish("a", 60)

    async def vanishing(*args: object) -> dict[str, Path]:
        return {"model.onnx": tmp_path / "gone"}

    monkeypatch.setattr(worker.cache, "ensure", vanishing)
    worker.errors["a"] = LoadFailed("model.onnx: no such file")
    await worker.cell.worker("w2")
    await order(worker, ref)
    await wait_until(lambda: not worker.loader.tasks)
    assert await worker.cell.client.hkeys(worker.cell.keys.failed_on(ref)) == [b"w1"]
    assert await worker.cell.replies() == []
