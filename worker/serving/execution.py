"""One batch on the device, and what becomes of each of its requests."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from shared import clock, failpoints
from shared.causes import full_text
from shared.constants import POLL
from shared.envelope import Outcome, Timing, pack, pack_error
from shared.errors import Expired, ModelFailed, WarmrouteError
from shared.scripts import Completion
from shared.shared_memory import BULK_BYTES, SharedMemoryStore, size_of
from worker.device.base import DeviceOutOfMemory
from worker.device.out_of_memory import out_of_memory
from worker.device.sticky_errors import exit_if_sticky
from worker.residency.copies import Copy
from worker.serving import batch_tensors
from worker.serving.batch_tensors import Arrays
from worker.serving.queued_request import QueuedRequest
from worker.supervisor.progress import Progress

_POLL = POLL.encode()
MAX_OUTCOME_BYTES = 64 << 20  # Redis would refuse one beyond its own limits again and again
Result = Outcome | WarmrouteError


class Watch(NamedTuple):
    """What the parent process may know of a device call: the number of its batch (over 0), and the
    moment of `clock.monotonic` after which it takes too long."""

    progress: Progress
    number: int
    overdue_at: float


def run(copy: Copy, batch: Sequence[QueuedRequest], watch: Watch) -> list[Outcome]:
    """Join the inputs, run the model, split the outputs. On the device thread. DeviceOutOfMemory,
    wherever the memory ran out, or what else the model raises."""
    try:
        return _run(copy, batch, watch)
    except Exception as error:
        message = _of_memory(error)
        if not message:
            raise
    # Anew, out here: the first one holds the frames of the call and so its tensors, and who makes
    # room for another try would find that memory in use.
    raise DeviceOutOfMemory(message)


def _of_memory(error: Exception) -> str:
    """The message of an error that says that memory ran out, else ''. numpy's is a MemoryError."""
    full = error if isinstance(error, DeviceOutOfMemory) else out_of_memory(error)
    return full.message if full else ""


def _run(copy: Copy, batch: Sequence[QueuedRequest], watch: Watch) -> list[Outcome]:
    inputs, begun, started = batch_tensors.join(batch), clock.monotonic(), time.perf_counter()
    outputs = call(copy, inputs, watch)
    failpoints.reach_now("run.after")
    took_us = round((time.perf_counter() - started) * 1e6)
    timings = [Timing(round((begun - w.received) * 1e6), took_us, len(batch)) for w in batch]
    return batch_tensors.split(outputs, copy.manifest.outputs, batch, timings)


def call(copy: Copy, inputs: Arrays, watch: Watch) -> Arrays:
    """One call of the model. Whatever ends this process in it, its parent knows the batch."""
    failpoints.reach_now("run.before")
    watch.progress.start(watch.number, watch.overdue_at)
    try:
        failpoints.reach_now("run.mid")
        return copy.model.run(inputs)
    except Exception as error:
        exit_if_sticky(error)  # here, while the batch still counts as running
        raise
    finally:
        watch.progress.end()


def only(
    begun: set[bytes], batch: Sequence[QueuedRequest], results: Sequence[Result]
) -> tuple[list[QueuedRequest], list[Result]]:
    """Leave out what ran although it must not have counted as started (cancelled, or moved)."""
    pairs = [(w, r) for w, r in zip(batch, results, strict=True) if w.entry in begun]
    return [w for w, _ in pairs], [r for _, r in pairs]


def completion(work: QueuedRequest, result: Result, bulk: SharedMemoryStore | None) -> Completion:
    """What `complete` is to publish for one request."""
    result = _too_large(result)
    if isinstance(result, Outcome):
        outcome = _packed(work, result, bulk)
        return Completion(work.entry, work.id, work.reply, work.flags, "succeeded", outcome)
    status = "expired" if isinstance(result, Expired) else "failed"
    said, full = pack_error(result), full_text(result).encode(errors="replace")
    return Completion(
        work.entry, work.id, work.reply, work.flags, status, said, work.ref, full
    )  # fmt: skip


def refusal(entry: bytes, flat: Sequence[bytes], error: WarmrouteError) -> Completion:
    """What `complete` is to publish for an entry that cannot be read: to whom, as far as known."""
    known = dict(zip(flat[::2], flat[1::2], strict=False))
    request_id, reply, flags, ref = (
        known.get(n, b"") for n in (b"id", b"reply", b"flags", b"model")
    )
    return Completion(entry, request_id, reply, flags, "failed", pack_error(error), ref)


def _too_large(result: Result) -> Result:
    if isinstance(result, Outcome) and size_of(result) > MAX_OUTCOME_BYTES:
        return ModelFailed(
            f"outputs of {size_of(result)} bytes, at most {MAX_OUTCOME_BYTES} can be answered"
        )
    return result


def _packed(work: QueuedRequest, outcome: Outcome, bulk: SharedMemoryStore | None) -> bytes:
    """A large outcome for a caller who waits on this host goes through shared memory."""
    waits_only = bool(work.reply) and _POLL not in work.flags
    if bulk is None or not waits_only or size_of(outcome) < BULK_BYTES:
        return pack(outcome)
    try:
        return bulk.put(work.reply.decode(), work.id.decode(), "out", outcome)
    except OSError:  # its gateway is on another host, or gone
        return pack(outcome)
