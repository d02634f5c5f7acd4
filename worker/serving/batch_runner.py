"""A batch on the device, as often as it takes until each of its requests has its result.

    out of memory: free memory and try once more; then in halves, and each of those in halves
    other failure: one by one, so that only a bad request fails

Every try runs under the number of the batch: a death of this process in one of them is charged to
the requests that were started under it, and to no others.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from shared import clock
from shared.errors import InvalidInput, ModelFailed, OutOfMemory, WarmrouteError
from worker.device.base import DeviceOutOfMemory
from worker.device.thread import is_no_evidence
from worker.residency import growth
from worker.residency.context import WorkerContext
from worker.residency.copies import Copy
from worker.runtimes.failures import WrongOutput
from worker.serving import execution
from worker.serving.batch_start import WITHDRAWN, BatchStart
from worker.serving.completions import Result
from worker.serving.execution import DeviceCall
from worker.serving.oom_recovery import OomRecovery
from worker.serving.queued_request import QueuedRequest
from worker.serving.redis_clock import RedisClock

log = logging.getLogger(__name__)
Item = TypeVar("Item")


def split_failed(batch: Sequence[Item], error: WarmrouteError) -> list[Sequence[Item]]:
    """What to try instead of a batch of several that failed with `error`, in the same order."""
    if not isinstance(error, DeviceOutOfMemory):
        return [[item] for item in batch]
    middle = len(batch) // 2
    return [batch[:middle], batch[middle:]]


def caller_error(error: WarmrouteError) -> WarmrouteError:
    """The error for the caller of a request that failed alone."""
    if isinstance(error, DeviceOutOfMemory):
        full = OutOfMemory("the device has no memory left for this request, even alone")
        full.__cause__ = error
        return full
    if isinstance(error, (ModelFailed, InvalidInput)) and not isinstance(error, WrongOutput):
        return error
    failed = ModelFailed(error.message)
    failed.__cause__ = error.__cause__
    return failed


@dataclass
class _Batch:
    """What all tries of one batch have in common."""

    copy: Copy
    start: BatchStart
    memory_freed: bool = False  # tried at most once per batch


class BatchRunner:
    """Runs batches of any copy. `redis_clock` must have observed Redis's time before."""

    def __init__(
        self, context: WorkerContext, redis_clock: RedisClock, oom_recovery: OomRecovery
    ) -> None:
        self._device = context.thread
        self._gauge = context.gauge
        self._peaks = context.peaks
        self._progress = context.progress
        self._meter = context.meter
        self._calls = context.health.calls
        self._clock = redis_clock
        self._oom_recovery = oom_recovery

    async def run(
        self, copy: Copy, start: BatchStart, batch: Sequence[QueuedRequest]
    ) -> list[Result]:
        """A result for each request, in their order. Every exception of a model is a result, and
        what was cancelled before the device takes it up does not run (WITHDRAWN)."""
        return await self._results(_Batch(copy, start), batch) if batch else []

    async def _results(self, of: _Batch, batch: Sequence[QueuedRequest]) -> list[Result]:
        tried = await self._try(of, batch)
        if isinstance(tried, DeviceOutOfMemory) and not of.memory_freed:
            tried = await self._try_with_freed_memory(of, batch, tried)
        if not isinstance(tried, WarmrouteError):
            return tried
        if len(batch) == 1:
            return [caller_error(tried)]
        parts = split_failed(batch, tried)
        return [result for part in parts for result in await self._results(of, part)]

    async def _try_with_freed_memory(
        self, of: _Batch, batch: Sequence[QueuedRequest], failed: DeviceOutOfMemory
    ) -> list[Result] | WarmrouteError:
        of.memory_freed = True
        ref, size = of.copy.ref, sum(request.size for request in batch)
        if not await self._oom_recovery.free_memory(ref, size):
            return failed
        tried = await self._try(of, batch)
        if isinstance(tried, DeviceOutOfMemory):
            self._oom_recovery.mark_ineffective(ref, size)
        return tried

    async def _try(
        self, of: _Batch, batch: Sequence[QueuedRequest]
    ) -> list[Result] | WarmrouteError:
        overdue_at = self._clock.local_deadline(max(request.deadline_ms for request in batch))
        call = DeviceCall(self._progress, of.start.number, overdue_at, of.copy.ref)
        order = of.start.turn.order
        try:
            return await self._device.run(lambda: self._run_allowed(of, batch, call), order)
        except WarmrouteError as error:
            return error.with_traceback(None)  # it would keep the inputs and outputs of the call
        except Exception:
            log.exception("this is a bug: a batch of %d for %s raised", len(batch), of.copy.ref)
            return ModelFailed("internal error, see the worker's log")

    def _run_allowed(
        self, of: _Batch, batch: Sequence[QueuedRequest], call: DeviceCall
    ) -> list[Result]:
        """On the device thread."""
        allowed = of.start.take_up(batch)
        if not allowed:
            return [WITHDRAWN] * len(batch)
        started = clock.monotonic()
        try:
            results = self._measured(of.copy, allowed, call)
        finally:
            of.start.turn.device_s += clock.monotonic() - started
        by_entry = {r.entry: result for r, result in zip(allowed, results, strict=True)}
        return [by_entry.get(request.entry, WITHDRAWN) for request in batch]

    def _measured(
        self, copy: Copy, batch: Sequence[QueuedRequest], call: DeviceCall
    ) -> Sequence[Result]:
        """On the device thread. A failed call answers a request only if that was alone in it."""
        started, answered = clock.monotonic(), int(len(batch) == 1)
        call = call._replace(failed=partial(self._failed, copy.ref, requests=len(batch)))
        try:
            size = sum(request.size for request in batch)
            outcomes = growth.watched(
                self._gauge, copy, size, partial(execution.run, copy, batch, call), self._peaks
            )
            answered = len(batch)
            self._calls.succeeded(copy.ref)
            return outcomes
        finally:
            self._meter.add(copy.ref, clock.monotonic() - started, answered)

    def _failed(self, ref: str, error: Exception, requests: int) -> None:
        """On the device thread: a call of so many requests has raised."""
        if is_no_evidence(error):
            return
        self._calls.failed(ref)
        self._device.examine(error, requests)
