"""One device call for one batch. Everything here runs on the device thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from shared import clock, failpoints, ranges
from shared.envelope import Outcome, Timing
from worker.device.base import DeviceOutOfMemory
from worker.device.out_of_memory import out_of_memory
from worker.residency.copies import Copy
from worker.serving import batch_tensors
from worker.serving.batch_tensors import Arrays
from worker.serving.queued_request import QueuedRequest
from worker.supervisor.progress import Progress


class DeviceCall(NamedTuple):
    """What the parent process can read of a device call: the number of its batch (over 0), the
    moment of `clock.monotonic` after which it takes too long, and its model. `failed(error)` looks
    for the cause while the batch still counts as running."""

    progress: Progress
    number: int
    overdue_at: float
    ref: str = ""
    failed: Callable[[Exception], object] = lambda error: None

    def start(self) -> None:
        """The device computes it from now on."""
        self.progress.start(self.number, self.overdue_at, self.ref)

    def end(self) -> None:
        """The call has returned or raised."""
        self.progress.end()


def run(copy: Copy, batch: Sequence[QueuedRequest], call: DeviceCall) -> list[Outcome]:
    """Join the inputs, run the model, split the outputs. DeviceOutOfMemory wherever memory ran
    out; every other exception is the model's own."""
    try:
        return _run(copy, batch, call)
    except Exception as error:
        message = _out_of_memory_message(error)
        if not message:
            raise
    # Raised anew, outside of the handler: the first error holds the frames of the call and so its
    # tensors, which would still take memory while memory is freed for another try.
    raise DeviceOutOfMemory(message)


def _out_of_memory_message(error: Exception) -> str:
    """The message of an error that shows that memory ran out (a MemoryError too), else ''."""
    full = error if isinstance(error, DeviceOutOfMemory) else out_of_memory(error)
    return full.message if full else ""


def _run(copy: Copy, batch: Sequence[QueuedRequest], call: DeviceCall) -> list[Outcome]:
    inputs = batch_tensors.join(batch)
    for spec in ranges.limited(copy.manifest.inputs):
        if spec.name in inputs:  # what is out of range may end this process
            ranges.check_array(inputs[spec.name], spec, f"input {spec.name!r}")
    run_at, started = clock.monotonic(), time.perf_counter()
    outputs = run_model(copy, inputs, call)
    failpoints.reach_now("run.after")
    took_us = round((time.perf_counter() - started) * 1e6)
    timings = [Timing(round((run_at - r.received) * 1e6), took_us, len(batch)) for r in batch]
    return batch_tensors.split(outputs, copy.manifest.outputs, batch, timings)


def run_model(copy: Copy, inputs: Arrays, call: DeviceCall) -> Arrays:
    """One call of the model. If this process ends in it, its parent knows which batch ran."""
    failpoints.reach_now("run.before")
    call.start()
    try:
        failpoints.reach_now("run.mid")
        return copy.model.run(inputs)
    except Exception as error:
        call.failed(error)
        raise
    finally:
        call.end()
