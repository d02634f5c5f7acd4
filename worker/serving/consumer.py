"""The journey of a request through a worker.

    receive: read own work stream -> decode -> its model's queue
    handle:  begin (count the start) -> run on the device thread -> complete (coalesced)

The fence is possession of the stream entry: `complete` publishes only what it could delete.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from shared import clock, failpoints
from shared.channel import Channel
from shared.connection import BLOCK_MS, redis_errors
from shared.envelope import Outcome
from shared.errors import Expired, ModelFailed, Unavailable, WarmrouteError
from shared.keys import Keys
from shared.retry import until_answered
from shared.shared_memory import SharedMemoryStore
from worker.residency.context import WorkerContext
from worker.residency.copies import Copy
from worker.serving import execution
from worker.serving.batch_runner import BatchRunner
from worker.serving.completions import Completions
from worker.serving.inflight import InflightWindow
from worker.serving.oom_recovery import OomRecovery, Relieve, nothing_to_free
from worker.serving.queued_request import QueuedRequest, decode, entry_order
from worker.serving.redis_clock import RedisClock
from worker.trial.guard import Guard

log = logging.getLogger(__name__)

MAX_BATCHES = 2  # one on the device, one begun and ready behind it


class Consumer:
    """Reads the work stream and runs what it finds. `relieve()` frees memory of the device, and
    says whether it could."""

    def __init__(
        self,
        channel: Channel,
        keys: Keys,
        parts: WorkerContext,
        prefetch: int,
        bulk: SharedMemoryStore | None = None,
        *,
        relieve: Relieve = nothing_to_free,
        guard: Guard | None = None,
    ) -> None:
        self._channel = channel
        self._stream = keys.work(parts.membership.worker)
        self._scripts = parts.scripts
        self._membership = parts.membership
        self._copies = parts.copies
        self._batcher = parts.batcher
        self._bulk = bulk
        self.inflight = InflightWindow(prefetch)
        self.completions = Completions(parts.scripts, parts.membership, self.inflight.settle)
        self.last_read = b"0-0"
        self.idle_at = 0.0  # when the last read that found nothing was begun
        self._position = b"0-0"  # own pending entries first, then new ones (">")
        self._arrived = asyncio.Event()
        self._slots = asyncio.Semaphore(MAX_BATCHES)
        self._running: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count(1)  # of batches
        self._alone = asyncio.Lock()
        self._clock = RedisClock()
        self._runner = BatchRunner(parts, self._clock, OomRecovery(relieve, self._aside))
        self.guard = guard or Guard(parts)
        self.guard.idle = lambda: not self._running and self._batcher.idle

    # receive ---------------------------------------------------------------------------------

    async def receive_once(self) -> int:
        """Take in what was placed on this worker; the number of entries read."""
        count = await self.inflight.room()
        begun = clock.monotonic()
        position, self._position = self._position, b"0-0"
        with redis_errors():
            streams = await self._channel.execute_command(
                "XREADGROUP", "GROUP", self._membership.epoch, self._membership.worker,
                "COUNT", count, "BLOCK", BLOCK_MS, "STREAMS", self._stream, position,
            )  # fmt: skip
        entries = streams[0][1] if streams else []
        self._position = self._next_position(position, entries)
        self._take_in(entries)
        if not entries and position == b">":
            self.idle_at = begun
        return len(entries)

    @staticmethod
    def _next_position(position: bytes, entries: list[tuple[bytes, list[bytes]]]) -> bytes:
        if position == b">" or not entries:
            return b">"
        return entries[-1][0]

    def _take_in(self, entries: list[tuple[bytes, list[bytes] | None]]) -> None:
        if not entries:
            return
        for entry, flat in entries:
            if flat and self.inflight.take(entry, len(flat[-1])):
                self._queue(entry, flat)
            # Else it was deleted since, or is read again after an error.
            failpoints.reach_now("receive.after")
        self.last_read = max(self.last_read, entries[-1][0], key=entry_order)
        self._arrived.set()

    def _queue(self, entry: bytes, flat: list[bytes]) -> None:
        try:
            work = decode(entry, flat, self._bulk)
        except WarmrouteError as error:
            log.error("entry %s cannot be read: %s", entry, error)
            self.completions.add([execution.refusal(entry, flat, error)])
            return
        if not self._batcher.put(work):
            self._finish([work], [Unavailable("this worker does not hold the model any more")])

    # handle ----------------------------------------------------------------------------------

    async def dispatch_once(self) -> None:
        """Start the next batch as soon as one is ready and the device has room for it."""
        await self._slots.acquire()
        try:
            batch = await self._next_batch()
        except BaseException:
            self._slots.release()
            raise
        # Held before anything else can run: an evictor must not see the copy idle in between.
        copy = self._copies.acquire(batch[0].ref, len(batch))
        task = asyncio.create_task(self._handle_or_fail(copy, batch))
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self.guard.look()

    async def _handle_or_fail(self, copy: Copy, batch: list[QueuedRequest]) -> None:
        """Whatever happens, every request of the batch gets an outcome and the slot is freed."""
        try:
            await self.handle(copy, batch)
        except Exception:
            log.exception("this is a bug: a batch of %s was dropped", copy.ref)
            self._finish(batch, [ModelFailed("internal error, see the worker's log")] * len(batch))
        finally:
            self._copies.release(copy)
            self._slots.release()

    async def _next_batch(self) -> list[QueuedRequest]:
        while True:
            self._arrived.clear()
            batch, again = self._next()
            if batch:
                return batch
            try:
                async with asyncio.timeout(again and max(0.0, again - clock.monotonic())):
                    await self._arrived.wait()
            except TimeoutError:
                continue

    def _next(self) -> tuple[list[QueuedRequest], float | None]:
        if self._alone.locked():
            return [], None
        return self._batcher.next(clock.monotonic())

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """For the block no batch is begun or on the device."""
        try:
            async with self._alone:
                while self._running:
                    await asyncio.wait(set(self._running))
                yield
        finally:
            self._arrived.set()  # what came meanwhile

    async def handle(self, copy: Copy, batch: list[QueuedRequest]) -> None:
        """One batch, from its model's queue to its outcomes."""
        number = next(self._numbers)
        beginning = await self._begin(number, batch)
        live = batch if self._surely_in_time(batch) else await beginning
        results = await self._runner.run(copy, number, live)
        begun = {work.entry for work in await beginning}
        self._finish(*execution.only(begun, live, results))
        self.guard.saw(copy, live, results)

    @asynccontextmanager
    async def _aside(self) -> AsyncIterator[None]:
        """For the block a batch that was begun leaves its place on the device to others."""
        self._slots.release()
        try:
            yield
        finally:
            await self._slots.acquire()

    async def _begin(
        self, number: int, batch: list[QueuedRequest]
    ) -> asyncio.Task[list[QueuedRequest]]:
        """Send the count of the start. It is on its way when this returns; who awaits the task
        learns what may run: not what was cancelled, moved or is too late."""
        task = asyncio.create_task(self._begun(number, batch))
        await asyncio.sleep(0)  # the task runs up to its first wait: the command is written
        return task

    async def _begun(self, number: int, batch: list[QueuedRequest]) -> list[QueuedRequest]:
        items = [(w.entry, w.id, w.deadline_ms, w.flags) for w in batch]
        member = self._membership
        now_ms, verdicts = await until_answered(
            lambda: self._scripts.begin(member.worker, member.epoch, number, items)
        )
        self._clock.told(now_ms)
        if verdicts == [b"fenced"]:
            verdicts = [b"gone"] * len(batch)
        late = [w for w, verdict in zip(batch, verdicts, strict=True) if verdict == b"expired"]
        self._finish(late, [Expired("the deadline passed before it could run")] * len(late))
        self.inflight.settle(w.entry for w, v in zip(batch, verdicts, strict=True) if v == b"gone")
        return [w for w, verdict in zip(batch, verdicts, strict=True) if verdict == b"run"]

    def _surely_in_time(self, batch: list[QueuedRequest]) -> bool:
        """Whether no deadline of the batch can have passed: then the answer of `begin` need not be
        awaited before the device starts, which saves the warm path a round trip."""
        return self._clock.certainly_before(min(work.deadline_ms for work in batch))

    def _finish(
        self, batch: Sequence[QueuedRequest], results: Sequence[Outcome | WarmrouteError]
    ) -> None:
        pairs = zip(batch, results, strict=True)
        self.completions.add(execution.completion(w, r, self._bulk) for w, r in pairs)

    async def drain(self) -> None:
        """Wait for the batches that run, and for their outcomes to be committed."""
        while self._running:
            await asyncio.wait(set(self._running))
        await self.completions.drain()
