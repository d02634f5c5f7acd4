"""Which batches a worker runs, in which order, how they are known, and when none may run."""

from __future__ import annotations

import asyncio

from shared import clock
from shared.manifest import Batching
from tests.helpers.consuming import Worker, body
from tests.helpers.factories import REF
from tests.helpers.wait import wait_until


async def test_a_batch_is_known_by_its_number(worker: Worker) -> None:
    """In Redis, beside each entry that it began, and in what is left of a dead process."""
    worker.model.go.clear()
    (first,) = await worker.send(1.0)
    worker.supervisor.start()
    await wait_until(lambda: worker.model.calls)
    assert worker.context.progress.running == 1
    assert worker.context.progress.overdue_at > clock.monotonic() + 50  # its deadline is a minute
    (second,) = await worker.send(2.0)

    async def numbers() -> list[bytes]:
        return sorted(await worker.cell.client.hvals(worker.cell.keys.started("w1")))

    async def both() -> bool:
        return await numbers() == [b"1", b"2"]

    await wait_until(both)
    assert worker.context.progress.running == 1
    worker.model.go.set()
    assert set(await worker.outcomes(2)) == {first, second}
    assert worker.context.progress.running == 0


async def test_the_most_urgent_runs_first(worker: Worker) -> None:
    """Of what waits; what runs is not interrupted."""
    worker.context.batcher.open(REF, Batching(max_size=1))
    for value, priority in ((1.0, 9), (2.0, 5), (3.0, 1), (4.0, 5)):
        await worker.send(value, priority=priority)
    for _ in range(2):  # what was pending of before, and these
        await worker.receiver.receive_once()
    worker.supervisor.start()
    await worker.outcomes(4)
    assert worker.model.values == [3.0, 2.0, 4.0, 1.0]


async def test_a_priority_out_of_range_is_refused(worker: Worker) -> None:
    """Its caller is told why, and the next one is served."""
    wrong, good = *await worker.send(1.0, priority=10), *await worker.send(2.0)
    worker.supervisor.start()
    outcomes = await worker.outcomes(2)
    assert outcomes[wrong][0] == "failed" and "priority" in outcomes[wrong][1]
    assert outcomes[good] == ("succeeded", 4.0)


async def test_a_request_that_has_died_twice_runs_alone(worker: Worker) -> None:
    """Its neighbours run together, without it."""
    fields = {"id": "f" * 32, "model": REF, "deadline": 1 << 45, "reply": "gw1", "flags": "",
              "attempts": 2, "body": body(9.0)}  # fmt: skip
    await worker.send(1.0, 2.0)
    await worker.cell.client.xadd(worker.cell.keys.work("w1"), fields)
    await worker.send(3.0, 4.0)
    for _ in range(2):
        await worker.receiver.receive_once()
    worker.supervisor.start()
    assert (await worker.outcomes(5))["f" * 32] == ("succeeded", 18.0)
    assert sorted(worker.model.calls) == [1, 4]
    assert worker.model.values[worker.model.calls.index(1) * 4] == 9.0


# alone ----------------------------------------------------------------------------------------


async def test_a_pause_waits_for_running_batches_and_delays_the_rest(worker: Worker) -> None:
    """Nothing is begun meanwhile; afterwards everything is served."""
    worker.model.go.clear()
    ids = await worker.send(1.0)
    worker.supervisor.start()
    await wait_until(lambda: worker.model.calls)
    entered, leave = asyncio.Event(), asyncio.Event()

    async def load() -> None:
        async with worker.consumer.paused():
            entered.set()
            await leave.wait()

    loading = asyncio.create_task(load())
    await asyncio.sleep(0.05)
    assert not entered.is_set()
    worker.model.go.set()
    await asyncio.wait_for(entered.wait(), 20)
    ids += await worker.send(2.0, 3.0)
    await wait_until(lambda: len(worker.inflight) == 2)
    await asyncio.sleep(0.05)
    assert worker.model.calls == [1] and worker.context.progress.running == 0
    assert await worker.cell.exists(worker.cell.keys.started("w1")) == []
    leave.set()
    await loading
    assert set(await worker.outcomes(3)) == set(ids)


async def test_an_idle_worker_pauses_at_once(worker: Worker) -> None:
    """Also while the loop waits for a first request. One after the other."""
    worker.supervisor.start()
    inside: list[str] = []

    async def load(name: str) -> None:
        async with worker.consumer.paused():
            assert not inside
            inside.append(name)
            await asyncio.sleep(0.01)
            inside.remove(name)

    await asyncio.wait_for(asyncio.gather(load("a"), load("b")), 20)
    (sent,) = await worker.send(1.0)
    assert await worker.outcomes(1) == {sent: ("succeeded", 2.0)}


async def test_a_cancelled_pause_delays_no_batch(worker: Worker) -> None:
    """Its load lost its lease: what came meanwhile is served."""
    worker.model.go.clear()
    await worker.send(1.0)
    worker.supervisor.start()
    await wait_until(lambda: worker.model.calls)

    async def load() -> None:
        async with worker.consumer.paused():
            raise AssertionError("a batch still runs")

    loading = asyncio.create_task(load())
    await asyncio.sleep(0.01)
    await worker.send(2.0)
    await wait_until(lambda: len(worker.inflight) == 2)
    loading.cancel()
    await asyncio.wait([loading])

    async def begun() -> bool:
        return await worker.cell.client.hlen(worker.cell.keys.started("w1")) == 2

    await wait_until(begun)
    worker.model.go.set()
    assert len(await worker.outcomes(2)) == 2
