"""The journey of a request through a worker: read, batched, begun, run, answered, each once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from shared.channel import Channel
from shared.envelope import Envelope, pack, unpack_outcome
from shared.errors import ModelFailed
from shared.manifest import Batching
from shared.service import Loop, Supervisor
from tests.helpers.cell import MAX_ATTEMPTS, Cell
from tests.helpers.factories import OTHER_REF, REF, manifest, placing, tensor
from tests.helpers.proxy import Proxy
from tests.helpers.wait import wait_until
from worker.batcher import Batcher
from worker.consumer import Consumer
from worker.copies import Copies, Copy
from worker.device_thread import DeviceThread
from worker.ledger import Footprint, Ledger
from worker.membership import Membership
from worker.parts import Parts
from worker.tensors import Arrays

PREFETCH = 8
BAD = 666.0


class Model:
    """`y` is `x` doubled; it notes the size of each call and raises as told if a row is bad."""

    bytes_resident = 0
    shared: dict[str, int] = {}  # noqa: RUF012 - never changed

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.error: Exception = ModelFailed("a bad row")

    def run(self, inputs: Arrays) -> Arrays:
        self.calls.append(len(inputs["x"]))
        if BAD in inputs["x"]:
            raise self.error
        return {"y": inputs["x"] * 2}

    def unload(self) -> None:
        """Nothing to free."""


class Worker:
    """Worker w1 with one copy of the model, reading over a connection that tests may cut."""

    def __init__(self, cell: Cell, reads: Channel) -> None:
        self.cell, self.model, copies = cell, Model(), Copies()
        membership = Membership(
            cell.scripts, "w1", 10.0, MAX_ATTEMPTS, dict, lambda: {REF: 0}
        )  # fmt: skip
        self.parts = Parts(
            scripts=cell.scripts, membership=membership, copies=copies, batcher=Batcher(),
            ledger=Ledger(100), thread=DeviceThread(),
        )  # fmt: skip
        copies.add(Copy(REF, manifest(), self.model, Footprint(frozenset(), 0)))
        self.parts.batcher.open(REF, Batching(max_size=4))
        self.consumer = Consumer(reads, cell.keys, self.parts, PREFETCH)
        self.supervisor = Supervisor(
            [
                Loop("receive", self.consumer.receive_once),
                Loop("dispatch", self.consumer.dispatch_once),
            ]
        )

    async def send(self, *values: float, **changes: object) -> list[str]:
        """Place one request for each value; their ids."""
        items = [
            placing(body=pack(Envelope([tensor(np.full((1, 2), v, "<f4"))])), **changes)
            for v in values
        ]
        await self.cell.place(*items)
        return [item.id for item in items]

    async def outcomes(self, count: int) -> dict[str, tuple[str, object]]:
        """What callers are told once there are so many: the value, or the error's text."""

        async def there() -> bool:
            return len(await self.cell.replies()) >= count

        await wait_until(there)
        return {r["id"].decode(): _told(r) for r in await self.cell.replies()}


def _told(reply: dict[str, bytes]) -> tuple[str, object]:
    status = reply["status"].decode()
    if status != "succeeded":
        return status, reply["outcome"].decode()
    (y,) = unpack_outcome(reply["outcome"]).outputs
    return status, float(np.frombuffer(y.data, "<f4")[0])


@pytest.fixture
async def worker(cell: Cell) -> AsyncIterator[Worker]:
    """Registered; its loops are started by the tests."""
    await cell.gateway()
    reads = Channel(cell.url)
    made = Worker(cell, reads)
    await made.parts.membership.register()
    yield made
    await made.supervisor.stop()
    await made.consumer.drain()
    await reads.aclose()
    made.parts.thread.close()


async def test_each_request_gets_its_own_answer(worker: Worker) -> None:
    """In batches; nothing of them is left on the stream."""
    ids = await worker.send(*range(20))
    worker.supervisor.start()
    outcomes = await worker.outcomes(20)
    assert outcomes == {i: ("succeeded", 2.0 * n) for n, i in enumerate(ids)}
    assert max(worker.model.calls) > 1
    assert await worker.cell.client.xlen(worker.cell.keys.work("w1")) == 0
    assert await worker.cell.exists(worker.cell.keys.begun("w1")) == []


@pytest.mark.parametrize(
    "error", [ModelFailed("a bad row"), ZeroDivisionError("a bug"), MemoryError()], ids=repr
)
async def test_a_bad_request_fails_alone(worker: Worker, error: Exception) -> None:
    """Its batch-mates are run again without it, whatever was raised."""
    worker.model.error = error
    values = (1.0, BAD, 2.0, 3.0)
    ids = await worker.send(*values)
    worker.supervisor.start()
    outcomes = await worker.outcomes(4)
    assert [outcomes[i][0] for i in ids] == ["succeeded", "failed", "succeeded", "succeeded"]
    assert outcomes[ids[1]][1].startswith("model_failed ")


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
    await wait_until(lambda: not worker.consumer.in_hand)
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
    await worker.consumer.receive_once()  # pending of before: none
    await worker.consumer.receive_once()
    await worker.cell.scripts.cancel(ids[0])
    worker.supervisor.start()
    outcomes = await worker.outcomes(2)
    await worker.consumer.drain()
    assert outcomes[ids[0]][0] == "cancelled"
    assert outcomes[ids[1]] == ("succeeded", 4.0)
    assert len(await worker.cell.replies()) == 2
    await wait_until(lambda: not worker.consumer.in_hand)


async def test_no_more_is_taken_in_than_the_prefetch(worker: Worker) -> None:
    """The rest stays for others, until there is room."""
    await worker.send(*range(3 * PREFETCH))
    receiving = Supervisor([Loop("receive", worker.consumer.receive_once)])
    receiving.start()
    await wait_until(lambda: len(worker.consumer.in_hand) == PREFETCH)
    pending = await worker.cell.client.xpending(worker.cell.keys.work("w1"), "w")
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
        await worker.parts.membership.register()
        await worker.consumer.receive_once()  # nothing pending: from now on new ones are read
        ids = await worker.send(1.0, 2.0)
        proxy.drop_answers = True
        worker.supervisor.start()
        assert set(await worker.outcomes(2)) == set(ids)
        await worker.supervisor.stop()
        await worker.consumer.drain()
        await reads.aclose()
    assert len(await cell.replies()) == 2
    worker.parts.thread.close()


async def test_who_was_reaped_answers_nothing_of_before(worker: Worker) -> None:
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
    await worker.cell.scripts.reap(MAX_ATTEMPTS)
    go.set()
    await wait_until(lambda: not worker.consumer.in_hand)
    assert await worker.cell.replies() == []
    assert worker.consumer.completions.counts == {"fenced": 1}
    assert await worker.cell.client.xlen(worker.cell.keys.parked(REF)) == 1
