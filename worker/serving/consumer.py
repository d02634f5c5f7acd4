"""The journey of a request through a worker, after `receiver.py` has queued it.

    dispatch: wait for a slot of the device -> the next batch of the most urgent model
    handle:   start (`begin` counts it) -> run on the device thread -> commit (`complete`)

The fence is possession of the stream entry: `complete` publishes only what it could delete.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from shared import clock
from shared.errors import ModelFailed
from shared.event_log import EventLog
from shared.tasks import BackgroundTasks
from worker.residency.context import WorkerContext
from worker.residency.copies import Copy
from worker.serving.batch_runner import BatchRunner
from worker.serving.batch_start import BatchStarter, RedisClock
from worker.serving.completions import Completions, Result
from worker.serving.oom_recovery import FreeMemory, OomRecovery, nothing_to_free
from worker.serving.queued_request import QueuedRequest
from worker.serving.receiver import Receiver
from worker.trial.guard import Guard

log = logging.getLogger(__name__)

SLOTS = 2  # batches: one on the device, one started and ready behind it
ANSWER_S = 5.0  # to answer the request that made the device stop, before this process ends


class Consumer:
    """Runs the batches of what `receiver` has queued. `free_memory()` frees memory of the device,
    and returns whether it could; `events` takes what the guard finds."""

    def __init__(
        self, context: WorkerContext, receiver: Receiver, completions: Completions, *,
        free_memory: FreeMemory = nothing_to_free, events: EventLog | None = None,
    ) -> None:  # fmt: skip
        self._copies = context.copies
        self._batcher = context.batcher
        self._arrived = receiver.arrived
        self._completions = completions
        self._thread = context.thread
        self._slots = asyncio.Semaphore(SLOTS)
        self._running = BackgroundTasks[None]()
        self._pausing = asyncio.Lock()
        redis_clock = RedisClock()
        self._starter = BatchStarter(context.scripts, context.membership, completions, redis_clock)
        self._runner = BatchRunner(context, redis_clock, OomRecovery(free_memory, self._yield_slot))
        self.guard = Guard(context, self._is_idle, events)

    async def dispatch_once(self) -> None:
        """Start the next batch as soon as one is ready and a slot is free."""
        await self._slots.acquire()
        try:
            batch = await self._next_batch()
        except BaseException:
            self._slots.release()
            raise
        # In use before anything else can run: an evictor must not see the copy idle in between.
        copy = self._copies.acquire(batch[0].ref, len(batch))
        task = self._running.start(self._handle_or_fail(copy, batch))
        task.add_done_callback(lambda _: self.guard.batch_ended())

    async def handle(self, copy: Copy, batch: list[QueuedRequest]) -> None:
        """One batch, from its model's queue to its outcomes: start, run, commit."""
        start = await self._starter.start(batch)
        running = batch if start.certainly_in_time else await start.allowed()
        results = await self._runner.run(copy, start.number, running)
        self._commit(await start.allowed(), running, results)
        if self._thread.asserted:
            await self._end_asserted()
        self.guard.observe(copy, running, results)

    def _commit(
        self, allowed: Sequence[QueuedRequest], running: Sequence[QueuedRequest],
        results: Sequence[Result],
    ) -> None:  # fmt: skip
        """Leave out what ran although its start was refused: it was cancelled, or moved."""
        entries = {request.entry for request in allowed}
        kept = [
            (r, result) for r, result in zip(running, results, strict=True) if r.entry in entries
        ]
        self._completions.finish([r for r, _ in kept], [result for _, result in kept])

    async def _end_asserted(self) -> None:
        """No call succeeds any more: end this process once the request to blame is answered."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                await self._completions.drain()
        self._thread.end_asserted()

    async def drain(self) -> None:
        """Wait for the batches that run, and for their outcomes to be committed."""
        while self._running:
            await asyncio.wait(self._running)
        await self._completions.drain()

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """For the block no batch is started or on the device."""
        try:
            async with self._pausing:
                while self._running:
                    await asyncio.wait(self._running)
                yield
        finally:
            self._arrived.set()  # requests may have been queued meanwhile

    async def _handle_or_fail(self, copy: Copy, batch: list[QueuedRequest]) -> None:
        """Handle a batch; on a bug every request of it gets an outcome and the slot is freed."""
        try:
            await self.handle(copy, batch)
        except Exception:
            log.exception("this is a bug: a batch of %s was dropped", copy.ref)
            error = ModelFailed("internal error, see the worker's log")
            self._completions.finish(batch, [error] * len(batch))
        finally:
            self._copies.release(copy)
            self._slots.release()

    async def _next_batch(self) -> list[QueuedRequest]:
        while True:
            self._arrived.clear()
            batch, again = self._take()
            if batch:
                return batch
            try:
                async with asyncio.timeout(again and max(0.0, again - clock.monotonic())):
                    await self._arrived.wait()
            except TimeoutError:
                continue

    def _take(self) -> tuple[list[QueuedRequest], float | None]:
        """The next batch, or [] and the time to look again (None: when a request arrives)."""
        if self._pausing.locked():
            return [], None
        return self._batcher.next(clock.monotonic())

    @asynccontextmanager
    async def _yield_slot(self) -> AsyncIterator[None]:
        """For the block a batch that was started leaves its slot to others."""
        self._slots.release()
        try:
            yield
        finally:
            await self._slots.acquire()

    def _is_idle(self) -> bool:
        return not self._running and self._batcher.idle
