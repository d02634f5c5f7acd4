"""A batch on the device, as often as it takes until each of its requests has its result.

    out of memory: make room and try once more; then in halves, and each of those in halves
    else it fails: one by one, so that only a bad request fails

Every try runs under the number of the batch: what ends this process in one of them is charged to
the requests that were begun under it, and to no others.
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
from worker.residency import growth
from worker.residency.context import WorkerContext
from worker.residency.copies import Copy
from worker.runtimes.failures import WrongOutput
from worker.serving import execution
from worker.serving.execution import Result, Watch
from worker.serving.oom_recovery import OomRecovery
from worker.serving.queued_request import QueuedRequest
from worker.serving.redis_clock import RedisClock

log = logging.getLogger(__name__)
Item = TypeVar("Item")


def parts_of(batch: Sequence[Item], error: WarmrouteError) -> list[Sequence[Item]]:
    """What to try instead of a batch of several that failed with `error`, in the same order."""
    if not isinstance(error, DeviceOutOfMemory):
        return [[item] for item in batch]
    middle = len(batch) // 2
    return [batch[:middle], batch[middle:]]


def told(error: WarmrouteError) -> WarmrouteError:
    """What the caller of a request that failed alone is told."""
    if isinstance(error, DeviceOutOfMemory):
        said = OutOfMemory("the device has no memory left for this request, even alone")
        said.__cause__ = error
        return said
    if isinstance(error, (ModelFailed, InvalidInput)) and not isinstance(error, WrongOutput):
        return error
    failed = ModelFailed(error.message)
    failed.__cause__ = error.__cause__
    return failed


@dataclass
class _Batch:
    """What all tries of one batch have in common."""

    copy: Copy
    number: int
    relieved: bool = False  # room is made for it once


class BatchRunner:
    """Runs batches of any copy. `redis_clock` must have been told the time before."""

    def __init__(self, parts: WorkerContext, redis_clock: RedisClock, relief: OomRecovery) -> None:
        self._device = parts.thread
        self._gauge = parts.gauge
        self._progress = parts.progress
        self._meter = parts.meter
        self._clock = redis_clock
        self._relief = relief

    async def run(self, copy: Copy, number: int, batch: Sequence[QueuedRequest]) -> list[Result]:
        """A result for each request, in their order. Whatever a model raises is one."""
        return await self._results(_Batch(copy, number), batch) if batch else []

    async def _results(self, of: _Batch, batch: Sequence[QueuedRequest]) -> list[Result]:
        tried = await self._try(of, batch)
        if isinstance(tried, DeviceOutOfMemory) and not of.relieved:
            tried = await self._try_with_room(of, batch, tried)
        if not isinstance(tried, WarmrouteError):
            return tried
        if len(batch) == 1:
            return [told(tried)]
        parts = parts_of(batch, tried)
        return [result for part in parts for result in await self._results(of, part)]

    async def _try_with_room(
        self, of: _Batch, batch: Sequence[QueuedRequest], failed: DeviceOutOfMemory
    ) -> list[Result] | WarmrouteError:
        of.relieved = True
        ref, size = of.copy.ref, sum(work.size for work in batch)
        if not await self._relief.make_room(ref, size):
            return failed
        tried = await self._try(of, batch)
        if isinstance(tried, DeviceOutOfMemory):
            self._relief.mark_ineffective(ref, size)
        return tried

    async def _try(
        self, of: _Batch, batch: Sequence[QueuedRequest]
    ) -> list[Result] | WarmrouteError:
        overdue_at = self._clock.passed_by(max(work.deadline_ms for work in batch))
        watch = Watch(self._progress, of.number, overdue_at)
        try:
            return list(await self._device.run(lambda: self._timed(of.copy, batch, watch)))
        except WarmrouteError as error:
            return error.with_traceback(None)  # it would keep the inputs and outputs of the call
        except Exception:
            log.exception("this is a bug: a batch of %d for %s raised", len(batch), of.copy.ref)
            return ModelFailed("internal error, see the worker's log")

    def _timed(self, copy: Copy, batch: Sequence[QueuedRequest], watch: Watch) -> Sequence[Result]:
        """On the device thread. The failure of a batch answers nobody, that of a lone request its
        caller."""
        begun, answered = clock.monotonic(), int(len(batch) == 1)
        try:
            size = sum(work.size for work in batch)
            call = partial(execution.run, copy, batch, watch)
            outcomes = growth.watched(self._gauge, copy, size, call)
            answered = len(batch)
            return outcomes
        finally:
            self._meter.add(copy.ref, clock.monotonic() - begun, answered)
