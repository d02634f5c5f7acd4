"""The journey of a request through a worker, after `receiver.py` has queued it.

    dispatch: wait for a slot of the device -> the next batch, of the model whose turn it is
    handle:   start (`begin` counts it) -> run on the device thread -> commit (`complete`)

The fence is possession of the stream entry: `complete` publishes only what it could delete.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from shared import clock
from shared.errors import ModelFailed
from shared.event_log import EventLog
from shared.tasks import BackgroundTasks
from worker.residency.context import WorkerContext
from worker.residency.copies import Copy
from worker.serving.batch_runner import BatchRunner
from worker.serving.batch_start import BatchStarter
from worker.serving.completions import Completions
from worker.serving.oom_recovery import FreeMemory, OomRecovery, nothing_to_free
from worker.serving.receiver import Receiver
from worker.serving.turns import Turn, end_turn, may_start
from worker.trial.guard import Guard

log = logging.getLogger(__name__)

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
        self._turns: set[Turn] = set()  # of the batches that were started and have not ended
        self._yielded = 0  # slots of batches that wait for memory
        self._running = BackgroundTasks[None]()
        self._pausing = asyncio.Lock()
        redis_clock = completions.redis_clock
        self._starter = BatchStarter(context.scripts, context.membership, completions, redis_clock)
        self._runner = BatchRunner(context, redis_clock, OomRecovery(free_memory, self._yield_slot))
        self.guard = Guard(context, self._is_idle, events)

    async def dispatch_once(self) -> None:
        """Start the next batch as soon as one is ready and may start."""
        turn = await self._next_turn()
        # In use before anything else can run: an evictor must not see the copy idle in between.
        copy = self._copies.acquire(turn.ref, len(turn.requests))
        self._turns.add(turn)
        task = self._running.start(self._handle_or_fail(copy, turn))
        task.add_done_callback(lambda _: self.guard.batch_ended())

    async def handle(self, copy: Copy, turn: Turn) -> None:
        """One batch, from its model's queue to its outcomes: start, run, commit."""
        start = await self._starter.start(turn)
        if not start.may_run_unanswered:
            await start.answered()
        running = start.allowed(turn.requests)
        answers = await self._runner.run(copy, start, running)
        results = {r.entry: answer for r, answer in zip(running, answers, strict=True)}
        await start.answered()
        # Left out: what ran although its start was refused. It was cancelled, or moved.
        kept = start.allowed(running)
        kept_results = [results[request.entry] for request in kept]
        self._completions.finish(kept, kept_results)
        if self._thread.asserted:
            await self._end_asserted()
        self.guard.observe(copy, kept, kept_results)

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

    async def _handle_or_fail(self, copy: Copy, turn: Turn) -> None:
        """Handle a batch; on a bug every request of it gets an outcome and the slot is freed."""
        try:
            await self.handle(copy, turn)
        except Exception:
            log.exception("this is a bug: a batch of %s was dropped", copy.ref)
            error = ModelFailed("internal error, see the worker's log")
            self._completions.finish(turn.requests, [error] * len(turn.requests))
        finally:
            self._copies.release(copy)
            self._end(turn)

    async def _next_turn(self) -> Turn:
        while True:
            self._arrived.clear()
            turn, again = self._take()
            if turn is not None:
                return turn
            try:
                async with asyncio.timeout(again and max(0.0, again - clock.monotonic())):
                    await self._arrived.wait()
            except TimeoutError:
                continue

    def _take(self) -> tuple[Turn | None, float | None]:
        """The next batch, or None and the time to look again (None: when a request arrives, or a
        batch has ended)."""
        if self._pausing.locked():
            return None, None
        self._batcher.advance(turn for turn in self._turns if turn.on_device)
        return self._batcher.next(clock.monotonic(), may_start(self._turns, self._yielded))

    def _end(self, turn: Turn) -> None:
        """A batch has ended, whatever became of it: another one may start."""
        self._turns.discard(turn)
        self._batcher.advance([turn])
        end_turn(turn)
        self._arrived.set()

    @asynccontextmanager
    async def _yield_slot(self) -> AsyncIterator[None]:
        """For the block a batch that was started leaves its slot to others. Afterwards there may be
        one batch too many for a moment: the device runs them in their order all the same."""
        self._yielded += 1
        self._arrived.set()
        try:
            yield
        finally:
            self._yielded -= 1

    def _is_idle(self) -> bool:
        return not self._running and self._batcher.idle
