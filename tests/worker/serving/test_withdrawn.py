"""What was cancelled before the device takes it up does not run, and nobody waits behind it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from shared.manifest import Batching
from shared.scripts import Cancel
from tests.helpers.consuming import Worker
from tests.helpers.factories import REF
from tests.helpers.wait import wait_until
from worker.serving import batch_start
from worker.serving.batch_tensors import Arrays

LATER_S = 2 * batch_start.FRESH_S  # what is known then is old


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device waits for the news of a batch until they are there."""
    monkeypatch.setattr(batch_start, "LOOK_S", 60.0)


async def begun_and_old(worker: Worker, count: int) -> None:
    """So many batches have begun, and what is known of them is old."""

    async def begun() -> bool:
        return await worker.cell.client.hlen(worker.cell.keys.started("w1")) == count

    await wait_until(begun)
    await asyncio.sleep(LATER_S)


async def cancel(worker: Worker, *ids: str) -> None:
    for request_id in ids:
        assert await worker.cell.cancel(request_id) == "cancelled"


@pytest.mark.parametrize("begun", [1, 2, 6], ids="{} have begun".format)
async def test_what_is_cancelled_behind_a_running_batch_does_not_run(
    worker: Worker, begun: int
) -> None:
    """Whether it waits in its queue or stands started behind the device."""
    worker.context.batcher.limit(REF, Batching(max_size=1))
    worker.model.go.clear()
    ids = await worker.send(*range(begun), flags="kp")
    worker.supervisor.start()
    await wait_until(lambda: worker.model.calls)
    await begun_and_old(worker, min(begun, 2))
    await cancel(worker, *ids[1:])
    (live,) = await worker.send(50.0, flags="kp")
    worker.model.go.set()
    outcomes = await worker.outcomes(begun + 1)
    assert outcomes[live] == ("succeeded", 100.0)
    assert worker.model.values == [0.0, 50.0]


async def test_what_nobody_knew_the_place_of_does_not_run_either(worker: Worker) -> None:
    """It ends as cancelled, and leaves nothing on the stream."""
    worker.context.batcher.limit(REF, Batching(max_size=1))
    worker.model.go.clear()
    first, lost, last = await worker.send(0.0, 1.0, 2.0, flags="")
    worker.supervisor.start()
    await wait_until(lambda: worker.model.calls)
    await begun_and_old(worker, 2)
    told = Cancel(lost, ref=REF, life_ms=60_000)
    assert await worker.cell.scripts.cancel([told]) == ["unknown"]
    worker.model.go.set()
    outcomes = await worker.outcomes(3)
    assert {name: said for name, (said, _) in outcomes.items()} == {
        first: "succeeded", lost: "cancelled", last: "succeeded",
    }  # fmt: skip
    assert worker.model.values == [0.0, 2.0]
    assert await worker.cell.client.xlen(worker.cell.keys.work("w1")) == 0


async def test_a_batch_that_waited_for_a_batch_of_another_order_runs_without_the_withdrawn(
    worker: Worker,
) -> None:
    """Its other requests run, in one call."""
    worker.model.go.clear()
    (first,) = await worker.send(0.0, flags="kp")
    worker.supervisor.start()
    await wait_until(lambda: worker.model.calls)
    ids = await worker.send(1.0, 2.0, 3.0, flags="kp")
    await begun_and_old(worker, 4)  # they stand behind the device
    await cancel(worker, ids[1])
    worker.model.go.set()
    outcomes = await worker.outcomes(4)
    assert [outcomes[i] for i in (first, ids[0], ids[2])] == [
        ("succeeded", 2.0 * n) for n in (0, 1, 3)
    ]
    assert worker.model.calls == [1, 2]


async def test_after_a_failed_batch_the_withdrawn_do_not_run_alone(worker: Worker) -> None:
    """Its requests are run one by one, which takes long: each is looked up before."""
    held, run = threading.Event(), worker.model.run

    def fails(inputs: Arrays) -> Arrays:
        if len(inputs["x"]) > 1:
            worker.model.calls.append(len(inputs["x"]))
            assert held.wait(20)
            raise ValueError("not together")
        return run(inputs)

    worker.model.run = fails
    ids = await worker.send(1.0, 2.0, 3.0, flags="kp")
    worker.supervisor.start()
    await wait_until(lambda: worker.model.calls)
    await begun_and_old(worker, 3)
    await cancel(worker, ids[0], ids[2])
    held.set()
    outcomes = await worker.outcomes(3)
    assert outcomes[ids[1]] == ("succeeded", 4.0)
    assert worker.model.values == [2.0]


async def test_a_request_on_an_idle_worker_does_not_wait_for_its_start(worker: Worker) -> None:
    """The saved round trip of the warm path: it runs while `begin` is under way."""
    worker.supervisor.start()
    await worker.send(1.0)
    await worker.outcomes(1)
    answered = worker.scripts_hold("begin")
    await worker.send(2.0)
    await wait_until(lambda: worker.model.values == [1.0, 2.0])
    assert not answered.is_set()
    worker.scripts_release()
    await worker.outcomes(2)


async def test_the_device_does_not_wait_for_a_redis_that_is_away(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands behind a batch runs with what was known when it was begun."""
    monkeypatch.setattr(batch_start, "LOOK_S", 0.01)
    worker.supervisor.start()
    await worker.send(1.0)
    await worker.outcomes(1)
    worker.model.go.clear()
    await worker.send(2.0)
    await wait_until(lambda: worker.model.values == [1.0, 2.0])
    await worker.send(3.0)
    await begun_and_old(worker, 2)
    worker.scripts_hold("begin")
    worker.model.go.set()
    await wait_until(lambda: worker.model.values == [1.0, 2.0, 3.0])
    worker.scripts_release()
    await worker.outcomes(3)
