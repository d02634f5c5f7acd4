"""F19: a device without memory for a batch. Room is made, the batch is split, the worker lives."""

from __future__ import annotations

import asyncio
import weakref

import numpy as np
import pytest

from shared import clock
from tests.helpers.consuming import Worker
from tests.helpers.wait import wait_until
from worker.device.base import DeviceOutOfMemory
from worker.serving import oom_recovery
from worker.serving.batch_tensors import Arrays


class Limited:
    """The worker's model on a device with room for so many rows at once. It notes each call: how
    many rows it had, and which batch was said to run."""

    def __init__(self, worker: Worker, rows: int) -> None:
        self.rows = rows
        self.calls: list[int] = []
        self.batches: set[int] = set()
        self.asked = 0
        self._worker, self._run = worker, worker.model.run
        worker.model.run = self.run
        worker.free_memory = self.free_memory

    def run(self, inputs: Arrays) -> Arrays:
        self.calls.append(len(inputs["x"]))
        self.batches.add(self._worker.context.progress.running)
        if len(inputs["x"]) > self.rows:
            raise DeviceOutOfMemory("the device has no memory left for this")
        return self._run(inputs)

    async def free_memory(self) -> bool:
        """Nothing can be freed; tests replace it."""
        self.asked += 1
        return False


async def test_a_batch_too_large_for_the_device_runs_one_by_one(worker: Worker) -> None:
    """In halves, and those in halves. Nobody is told of it."""
    limited = Limited(worker, rows=1)
    ids = await worker.send(1.0, 2.0, 3.0, 4.0)
    worker.supervisor.start()
    outcomes = await worker.outcomes(4)
    assert [outcomes[i] for i in ids] == [("succeeded", 2.0 * n) for n in (1, 2, 3, 4)]
    assert limited.calls == [4, 2, 1, 1, 2, 1, 1]
    assert limited.asked == 1


async def test_a_request_too_large_for_the_device_fails_and_the_next_is_served(
    worker: Worker,
) -> None:
    """It fails alone, with a cause of its own."""
    limited = Limited(worker, rows=0)
    (large,) = await worker.send(1.0)
    worker.supervisor.start()
    status, text = (await worker.outcomes(1))[large]
    assert status == "failed" and text.startswith("out_of_memory the device has no memory left")
    limited.rows = 4
    (small,) = await worker.send(2.0)
    assert (await worker.outcomes(2))[small] == ("succeeded", 4.0)


async def test_memory_is_freed_and_the_batch_runs_whole(worker: Worker) -> None:
    """Once it has, it is tried again as it is."""
    limited = Limited(worker, rows=3)

    async def free_memory() -> bool:
        limited.rows = 4
        return True

    worker.free_memory = free_memory
    ids = await worker.send(1.0, 2.0, 3.0, 4.0)
    worker.supervisor.start()
    assert await worker.outcomes(4) == {i: ("succeeded", 2.0 * (n + 1)) for n, i in enumerate(ids)}
    assert limited.calls == [4, 4]


async def test_what_the_failed_call_held_is_free_before_room_is_made(worker: Worker) -> None:
    """Else the memory of its tensors would be missing in the next try."""
    held: list[weakref.ref[np.ndarray]] = []
    alive: list[bool] = []
    run = worker.model.run

    def hungry(inputs: Arrays) -> Arrays:
        if held:
            return run(inputs)
        scratch = inputs["x"] + 1
        held.append(weakref.ref(scratch))
        try:
            raise MemoryError
        except MemoryError as error:
            raise DeviceOutOfMemory(f"no memory left beside {scratch.nbytes} bytes") from error

    async def free_memory() -> bool:
        alive.extend(ref() is not None for ref in held)
        return True

    worker.model.run, worker.free_memory = hungry, free_memory
    (sent,) = await worker.send(1.0)
    worker.supervisor.start()
    assert await worker.outcomes(1) == {sent: ("succeeded", 2.0)}
    assert alive == [False]


async def test_every_try_is_charged_to_the_batch(worker: Worker) -> None:
    """Under the number that `begin` wrote beside its entries, and counted once."""
    limited = Limited(worker, rows=1)
    await worker.send(1.0, 2.0, 3.0, 4.0)
    worker.supervisor.start()
    await worker.outcomes(4)
    assert limited.batches == {1}
    assert worker.context.progress.running == 0


async def test_a_bad_request_in_a_batch_that_is_too_large_fails_alone(worker: Worker) -> None:
    """Both kinds of failure in one batch."""
    limited = Limited(worker, rows=2)
    ids = await worker.send(1.0, 666.0, 2.0, 3.0)
    worker.supervisor.start()
    outcomes = await worker.outcomes(4)
    assert [outcomes[i][0] for i in ids] == ["succeeded", "failed", "succeeded", "succeeded"]
    assert outcomes[ids[1]][1] == "model_failed a bad row"
    assert limited.calls == [4, 2, 1, 1, 2]


# making room ----------------------------------------------------------------------------------


async def test_while_memory_is_freed_other_batches_run(worker: Worker) -> None:
    """The copy that goes may have requests left. Two batches wait, for the same room."""
    limited = Limited(worker, rows=1)
    asked = 0

    async def free_memory() -> bool:
        nonlocal asked
        asked += 1
        await wait_until(lambda: 9.0 in worker.model.values)
        limited.rows = 4
        return True

    worker.free_memory = free_memory
    ids = await worker.send(*range(3, 9))
    worker.supervisor.start()
    await wait_until(lambda: limited.calls == [4, 2])
    ids += await worker.send(9.0)
    assert await worker.outcomes(7) == {i: ("succeeded", 2.0 * (n + 3)) for n, i in enumerate(ids)}
    assert limited.calls == [4, 2, 1, 4, 2]
    assert asked == 1


async def test_an_eviction_that_takes_too_long_is_not_waited_for(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while someone waits to be alone, which keeps the copy that goes from draining."""
    monkeypatch.setattr(oom_recovery, "MAX_WAIT_S", 0.05)
    limited, never = Limited(worker, rows=1), asyncio.Event()
    begun = asyncio.Event()

    async def free_memory() -> bool:
        begun.set()
        return await never.wait()

    worker.free_memory = free_memory
    ids = await worker.send(1.0, 2.0)
    worker.supervisor.start()
    await begun.wait()
    async with asyncio.timeout(20), worker.consumer.paused():
        assert limited.calls == [2, 1, 1]
    assert set(await worker.outcomes(2)) == set(ids)
    never.set()


async def test_what_is_too_large_anyway_does_not_empty_the_device(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room was made for it once, in vain: for a minute nothing goes for what is as large."""
    limited, now = Limited(worker, rows=0), clock.monotonic()
    asked: list[float] = []

    async def free_memory() -> bool:
        asked.append(clock.monotonic())
        return True

    worker.free_memory = free_memory
    worker.supervisor.start()
    for count in (1, 2, 3):
        await worker.send(1.0)
        await worker.outcomes(count)
    assert (limited.calls, len(asked)) == ([1, 1, 1, 1], 1)
    monkeypatch.setattr(clock, "monotonic", lambda: now + oom_recovery.INEFFECTIVE_S + 1000)
    await worker.send(1.0)
    await worker.outcomes(4)
    assert len(asked) == 2
