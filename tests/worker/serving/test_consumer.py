"""The journey through a worker: read, batched, begun, run, answered, each once (I22)."""

from __future__ import annotations

import asyncio

import pytest

from shared import retry
from shared.channel import Channel
from shared.errors import ModelFailed, Unavailable
from shared.service import Loop, Supervisor
from tests.helpers.cell import Cell
from tests.helpers.consuming import BAD, PREFETCH, Worker
from tests.helpers.factories import OTHER_REF, REF
from tests.helpers.proxy import Proxy
from tests.helpers.wait import wait_until
from worker.serving.batch_tensors import Arrays


async def test_each_request_gets_its_own_answer(worker: Worker) -> None:
    """In batches; nothing of them is left on the stream."""
    ids = await worker.send(*range(20))
    worker.supervisor.start()
    outcomes = await worker.outcomes(20)
    assert outcomes == {i: ("succeeded", 2.0 * n) for n, i in enumerate(ids)}
    assert max(worker.model.calls) > 1
    assert await worker.cell.client.xlen(worker.cell.keys.work("w1")) == 0
    assert await worker.cell.exists(worker.cell.keys.started("w1")) == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ModelFailed("a bad row"), "model_failed"), (ZeroDivisionError("a bug"), "model_failed"),
        (MemoryError(), "out_of_memory"),
    ],
    ids=repr,
)  # fmt: skip
async def test_a_bad_request_fails_alone(worker: Worker, error: Exception, code: str) -> None:
    """Its batch-mates are run again without it, whatever was raised."""
    worker.model.error = error
    values = (1.0, BAD, 2.0, 3.0)
    ids = await worker.send(*values)
    worker.supervisor.start()
    outcomes = await worker.outcomes(4)
    assert [outcomes[i][0] for i in ids] == ["succeeded", "failed", "succeeded", "succeeded"]
    assert outcomes[ids[1]][1].startswith(f"{code} ")


async def test_what_no_gateway_wrote_is_answered_and_does_not_stop_the_rest(
    worker: Worker,
) -> None:
    """An entry that cannot be read."""
    stream = worker.cell.keys.work("w1")
    await worker.cell.client.xadd(stream, {"garbage": "x"})
    fields = {"id": "f" * 32, "model": REF, "deadline": "soon", "reply": "gw1", "flags": "",
              "attempts": 0, "body": "x"}  # fmt: skip
    await worker.cell.client.xadd(stream, fields)
    (good,) = await worker.send(1.0)
    worker.supervisor.start()
    outcomes = await worker.outcomes(2)
    assert outcomes[good] == ("succeeded", 2.0)
    assert outcomes["f" * 32][0] == "failed"
    await wait_until(lambda: not worker.inflight)
    assert await worker.cell.client.xlen(stream) == 0


async def test_a_model_that_is_not_here_is_unavailable(worker: Worker) -> None:
    """It may succeed elsewhere."""
    await worker.cell.client.hset(worker.cell.keys.holders(OTHER_REF), "w1", "device 1 0")
    (lost,) = await worker.send(1.0, ref=OTHER_REF)
    worker.supervisor.start()
    status, text = (await worker.outcomes(1))[lost]
    assert (status, text.split()[0]) == ("failed", "unavailable")


async def test_a_request_that_is_late_does_not_run(worker: Worker) -> None:
    """Its caller is told that it expired."""
    (late,) = await worker.send(1.0, timeout_ms=1)
    await asyncio.sleep(0.01)
    worker.supervisor.start()
    assert (await worker.outcomes(1))[late][0] == "expired"
    assert worker.model.calls == []


async def test_a_request_that_was_taken_back_is_not_answered(worker: Worker) -> None:
    """Its batch-mate is."""
    ids = await worker.send(1.0, 2.0, flags="kp")
    await worker.receiver.receive_once()  # pending of before: none
    await worker.receiver.receive_once()
    await worker.cell.cancel(ids[0])
    worker.supervisor.start()
    outcomes = await worker.outcomes(2)
    await worker.consumer.drain()
    assert outcomes[ids[0]][0] == "cancelled"
    assert outcomes[ids[1]] == ("succeeded", 4.0)
    assert len(await worker.cell.replies()) == 2
    await wait_until(lambda: not worker.inflight)


async def test_no_more_is_taken_in_than_the_prefetch(worker: Worker) -> None:
    """The rest stays for others, until there is room."""
    await worker.send(*range(3 * PREFETCH))
    receiving = Supervisor([Loop("receive", worker.receiver.receive_once)])
    receiving.start()
    await wait_until(lambda: len(worker.inflight) == PREFETCH)
    pending = await worker.cell.client.xpending(
        worker.cell.keys.work("w1"), await worker.cell.epoch("w1")
    )
    assert pending["pending"] == PREFETCH
    await receiving.stop()
    worker.supervisor.start()
    assert len(await worker.outcomes(3 * PREFETCH)) == 3 * PREFETCH


async def test_entries_that_were_delivered_but_never_arrived_are_read_again(cell: Cell) -> None:
    """The connection broke in that moment. Each is answered once."""
    await cell.gateway()
    async with Proxy.to(cell.url) as proxy:
        reads = Channel(proxy.url)
        worker = Worker(cell, reads)
        await worker.context.membership.register()
        await worker.receiver.receive_once()  # nothing pending: from now on new ones are read
        ids = await worker.send(1.0, 2.0)
        proxy.drop_answers = True
        worker.supervisor.start()
        assert set(await worker.outcomes(2)) == set(ids)
        await worker.supervisor.stop()
        await worker.consumer.drain()
        await reads.aclose()
    assert len(await cell.replies()) == 2
    worker.context.thread.close()


async def test_when_all_is_answered_nothing_is_in_hand(worker: Worker) -> None:
    """Neither requests nor bytes, whatever became of each."""
    await worker.send(1.0, BAD)
    await worker.send(2.0, timeout_ms=1)
    await worker.cell.client.xadd(worker.cell.keys.work("w1"), {"garbage": "x" * 1000})
    worker.supervisor.start()
    await worker.outcomes(3)
    await wait_until(lambda: not worker.inflight)
    assert worker.inflight.bytes == 0


async def test_a_redis_that_does_not_answer_is_asked_again(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Starts are counted and outcomes committed when it is back."""
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.001)
    scripts = worker.cell.scripts
    failures = {name: [Unavailable("no answer")] * 4 for name in ("begin", "complete")}

    def unreliable(name: str) -> None:
        real = getattr(scripts, name)

        async def call(*args: object) -> object:
            if failures[name]:
                raise failures[name].pop()
            return await real(*args)

        monkeypatch.setattr(scripts, name, call)

    unreliable("begin")
    unreliable("complete")
    (sent,) = await worker.send(1.0)
    worker.supervisor.start()
    assert await worker.outcomes(1) == {sent: ("succeeded", 2.0)}
    assert failures == {"begin": [], "complete": []}
    assert len(worker.model.calls) == 1


async def test_a_reaped_worker_commits_no_earlier_outcome(worker: Worker) -> None:
    """Its requests are another's by then."""
    entered, go = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    run = worker.model.run

    def slow(inputs: Arrays) -> Arrays:
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(go.wait(), loop).result(20)
        return run(inputs)

    worker.model.run = slow
    await worker.send(1.0)
    worker.supervisor.start()
    await entered.wait()
    await worker.cell.client.zadd(worker.cell.keys.workers, {"w1": 0})
    await worker.cell.reap()
    go.set()
    await wait_until(lambda: not worker.inflight)
    assert await worker.cell.replies() == []
    assert worker.completions.counts == {"fenced": 1}
    assert await worker.cell.client.xlen(worker.cell.keys.parked(REF)) == 1
