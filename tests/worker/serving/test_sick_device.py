"""Calls that fail: whose fault it is, and a request at which the device stops for good."""

from __future__ import annotations

from shared.errors import InvalidInput
from tests.helpers.consuming import BAD, Worker
from tests.helpers.factories import REF
from tests.helpers.wait import wait_until
from worker.health.calls import IN_A_ROW
from worker.supervisor.restart import DEVICE_ASSERT, DEVICE_LOST

ASSERT = RuntimeError("CUDA error: device-side assert triggered")


class Device:
    """A device that stops for good at the first call that raises `error`."""

    def __init__(self, worker: Worker, error: Exception) -> None:
        worker.model.error, self.model = error, worker.model
        self.ended: list[tuple[int, int]] = []
        self.worker = worker
        thread = worker.context.thread
        thread._self_test = lambda: str(error) if BAD in self.model.values else ""
        thread._end = lambda status: self.ended.append((status, worker.context.progress.running))


async def test_a_lone_request_that_stops_the_device_fails_before_its_process_ends(
    worker: Worker,
) -> None:
    """At once, with the likely cause; no batch counts as running, so nothing is charged."""
    device = Device(worker, ASSERT)
    await worker.send(BAD)
    worker.supervisor.start()
    ((status, said),) = (await worker.outcomes(1)).values()
    assert status == "failed" and "model_failed" in str(said)
    assert "index in an input is out of range" in str(said)
    await wait_until(lambda: device.ended)
    assert device.ended == [(DEVICE_ASSERT, 0)]
    assert await worker.cell.client.xlen(worker.cell.keys.work("w1")) == 0


async def test_what_waits_behind_it_gets_no_answer_from_this_process(worker: Worker) -> None:
    """It is sound, and runs elsewhere."""
    device = Device(worker, ASSERT)
    ran: list[list[float]] = []
    worker.context.thread._end = lambda status: ran.append(list(device.model.values))
    worker.model.go.clear()
    await worker.send(BAD)
    worker.supervisor.start()
    await wait_until(lambda: worker.model.calls)
    await worker.send(1.0)
    await wait_until(lambda: len(worker.inflight) == 2)
    worker.model.go.set()
    await wait_until(lambda: ran)
    assert ran[0] == [BAD]


async def test_a_batch_that_stops_the_device_is_left_to_the_parent(worker: Worker) -> None:
    """It still counts as running: each of its requests runs alone next."""
    device = Device(worker, ASSERT)
    await worker.send(1.0, BAD)
    worker.supervisor.start()
    await wait_until(lambda: device.ended)
    (status, batch), *_ = device.ended
    assert status == DEVICE_ASSERT and batch > 0


async def test_any_other_loss_of_the_device_ends_the_process_at_once(worker: Worker) -> None:
    """Nobody is to blame, so the batch is charged."""
    device = Device(worker, RuntimeError("CUDA error: unknown error"))
    await worker.send(BAD)
    worker.supervisor.start()
    await wait_until(lambda: device.ended)
    (status, batch), *_ = device.ended
    assert status == DEVICE_LOST and batch > 0


async def test_failures_in_a_row_are_recorded_and_a_success_ends_them(worker: Worker) -> None:
    """For the self-test of the model, and for the worker's report."""
    worker.model.error = RuntimeError("CUDA error: unknown error")
    calls = worker.context.health.calls
    worker.supervisor.start()
    for number in range(IN_A_ROW):
        assert calls.to_try() == []
        await worker.send(BAD)
        await worker.outcomes(number + 1)
    assert calls.to_try() == [REF] and calls.error_share > 0
    await worker.send(1.0)
    await worker.outcomes(IN_A_ROW + 1)
    assert calls.to_try() == []


async def test_refused_inputs_and_want_of_memory_are_no_failures_of_the_worker(
    worker: Worker,
) -> None:
    """Whoever sends them, however many."""
    worker.supervisor.start()
    for number, error in enumerate([InvalidInput("not these"), MemoryError()] * IN_A_ROW):
        worker.model.error = error
        await worker.send(BAD)
        await worker.outcomes(number + 1)
    assert worker.context.health.calls.to_try() == []
