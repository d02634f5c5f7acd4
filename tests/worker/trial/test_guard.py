"""The guard: real batches against single runs, in idle moments."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import numpy as np
import pytest

from shared.errors import ModelFailed
from shared.manifest import Batching, TensorSpec, WarmupTensor
from tests.helpers.consuming import Worker
from tests.helpers.factories import REF, manifest, spec
from tests.helpers.wait import wait_until
from worker.serving.batch_tensors import Arrays
from worker.trial import guard as guards
from worker.trial.batches import INDEPENDENT

Function = Callable[[np.ndarray], np.ndarray]


class Guarded:
    """A worker whose model is a function, with a guard."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.events = worker.events
        self.copy = worker.context.copies.get(REF)
        self.sizes: list[int] = []
        self.guard = worker.consumer.guard
        self.serves(lambda x: x * 2)

    def serves(self, function: Function) -> None:
        """What the model computes from now on."""

        def run(inputs: Arrays) -> Arrays:
            self.sizes.append(len(inputs["x"]))
            return {"y": function(inputs["x"])}

        self.copy.model.run = run

    async def answered(self, *values: float) -> None:
        """A batch of these, on its way back."""
        before = len(await self.worker.cell.replies())
        await self.worker.send(*values)
        await self.worker.outcomes(before + len(values))

    async def known(self) -> dict[bytes, bytes]:
        """What the cell has learned."""
        return await self.worker.cell.client.hgetall(self.worker.cell.keys.stats(REF))

    async def reasons(self) -> list[bytes]:
        """Reasons of the events."""
        await self.events.finish(1.0)
        rows = await self.worker.cell.client.xrange(self.worker.cell.keys.events)
        return [fields[b"reason"] for _, fields in rows if fields[b"kind"] == b"unbatched"]

    @property
    def batched(self) -> bool:
        """Whether requests still share calls."""
        return not self.worker.context.batcher.limit(REF, Batching(max_size=4))


@pytest.fixture
async def guarded(worker: Worker) -> Guarded:
    """Its first batch is of all that was sent before it was started."""
    made = Guarded(worker)
    await worker.send(1.0, 2.0, 3.0, 4.0)
    return made


async def start(guarded: Guarded, count: int = 4) -> None:
    guarded.worker.supervisor.start()
    await guarded.worker.outcomes(count)
    await wait_until(lambda: guarded.guard._is_idle())


MIXING: dict[str, Function] = {
    "sorts": lambda x: -np.sort(-x, 0),
    "rotates": lambda x: np.concatenate([x[1:], x[:1]]),
    "whitens": lambda x: x - x.mean(0),
    "scales": lambda x: x / np.abs(x).max(),
    "counts": lambda x: x * len(x),
    "sums up": lambda x: np.cumsum(x, 0),
}


@pytest.mark.parametrize("name", MIXING)
async def test_a_batch_that_mixed_its_rows_is_found_out(guarded: Guarded, name: str) -> None:
    """Batches end here and for the cell, and an event tells why."""
    guarded.serves(MIXING[name])
    await start(guarded)
    assert guarded.sizes == [4]
    assert await guarded.guard.run_once() == 1
    assert (await guarded.known())[b"rows"] == (await guarded.reasons())[0] != b""
    await guarded.answered(5.0, 6.0, 7.0)
    assert guarded.sizes[-3:] == [1, 1, 1]


async def test_an_honest_batch_is_checked_and_goes_on(guarded: Guarded) -> None:
    """Each of its requests once; nothing is written."""
    await start(guarded)
    assert await guarded.guard.run_once() == 0
    assert guarded.sizes == [4, 1, 1, 1, 1]
    assert guarded.batched
    assert (await guarded.known(), await guarded.reasons()) == ({}, [])


async def test_the_next_check_waits_for_its_time(guarded: Guarded) -> None:
    """A share of the device's time is not exceeded, and the pauses grow."""
    await start(guarded)
    await guarded.guard.run_once()
    first = guarded.copy.check_at
    assert first > guarded.copy.loaded_at + guards.FIRST_PAUSE_S / 2
    await guarded.answered(5.0, 6.0)
    checking = asyncio.create_task(guarded.guard.run_once())
    await guarded.answered(7.0, 8.0)
    assert not checking.done()
    checking.cancel()


async def test_nothing_is_checked_while_the_device_has_work(guarded: Guarded) -> None:
    """It waits until nothing runs and nothing waits."""
    await start(guarded)
    real, busy = guarded.guard._is_idle, True
    guarded.guard._is_idle = lambda: not busy and real()
    checking = asyncio.create_task(guarded.guard.run_once())
    await guarded.answered(5.0)
    assert guarded.sizes == [4, 1]
    busy = False
    guarded.guard.batch_ended()
    assert await checking == 0
    assert guarded.sizes == [4, 1, 1, 1, 1, 1]


async def test_a_model_that_is_not_deterministic_is_not_blamed(guarded: Guarded) -> None:
    """That is remembered, and it is not checked again."""
    random = np.random.default_rng(1)
    guarded.serves(lambda x: x * random.random(x.shape).astype("<f4"))
    await start(guarded)
    assert await guarded.guard.run_once() == 1
    assert guarded.batched
    assert b"two runs of one input differ" in (await guarded.known())[b"repeats"]
    assert guarded.copy.check_at == float("inf")


async def test_a_request_that_fails_alone_only_is_a_reason(guarded: Guarded) -> None:
    """A batch of it has been answered."""

    def only_batches(x: np.ndarray) -> np.ndarray:
        if len(x) == 1:
            raise ModelFailed("more, please")
        return x

    guarded.serves(only_batches)
    await start(guarded)
    assert await guarded.guard.run_once() == 1
    assert b"more, please" in (await guarded.known())[b"rows"]


async def test_a_copy_that_leaves_is_not_checked(guarded: Guarded) -> None:
    """Nobody waits for a check."""
    await start(guarded)
    guarded.copy.retiring = True
    assert await guarded.guard.run_once() == 0
    assert guarded.sizes == [4]


async def test_a_model_without_inputs_is_proved_by_a_real_one(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first request on that was answered alone, if batches pay."""
    guarded.copy.unproved = True
    guarded.copy.manifest = manifest(batching=Batching(max_size=4))
    guarded.worker.context.batcher.limit(REF, Batching(max_size=1))
    guarded.serves(slow(lambda x: x * 2, monkeypatch))
    await start(guarded)
    assert guarded.sizes == [1, 1, 1, 1]
    await guarded.guard.run_once()
    assert guarded.batched
    assert (await guarded.known())[b"rows"] == INDEPENDENT.encode()


async def test_a_model_without_inputs_that_mixes_rows_stays_alone(guarded: Guarded) -> None:
    """And the reason is told."""
    guarded.copy.unproved = True
    guarded.copy.manifest = manifest(batching=Batching(max_size=4))
    guarded.worker.context.batcher.limit(REF, Batching(max_size=1))
    guarded.serves(lambda x: x - x.mean(0))
    await start(guarded)
    await guarded.guard.run_once()
    assert len(await guarded.reasons()) == 1
    assert not guarded.copy.unproved


async def test_a_request_with_other_inputs_than_were_tried_proves_nothing(guarded: Guarded) -> None:
    """Batches would be of requests that give the same as the trial."""
    optional = TensorSpec("scale", "FP32", [-1], optional=True)
    warmup = {"x": WarmupTensor([1, 2]), "scale": WarmupTensor([1])}
    guarded.copy.unproved = True
    guarded.copy.manifest = manifest(inputs=[spec("x"), optional], warmup=[warmup])
    await start(guarded)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(guarded.guard.run_once(), 0.1)


def slow(function: Function, monkeypatch: pytest.MonkeyPatch) -> Function:
    """A fixed cost, so that batches pay, by a clock that nothing else moves."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def run(x: np.ndarray) -> np.ndarray:
        now[0] += 0.002
        return function(x)

    return run
