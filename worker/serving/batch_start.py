"""The start of a batch: counted in Redis while the device may already run it.

`begin` counts the start of each request and answers which of them may run: not those that were
cancelled, moved to another worker, or are past their deadline. Its answer is a round trip. The
device need not wait for it where no deadline can have passed and the requests have just arrived;
the outcomes always do.

What is cancelled before the device takes it up does not run. So when the device takes a batch up
and the last news of it is older than `FRESH_S`, because it stood behind another batch, or its
requests waited in their queue, it looks at the answer first, and sends `begin` again if that is as
old. The batch before took longer than `FRESH_S` then, so this round trip takes a small part of the
device's time.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import CancelledError

from shared import clock, statuses
from shared.errors import Cancelled, Expired
from shared.retry import until_answered
from shared.scripts import WorkerScripts
from worker.membership import Membership
from worker.serving.completions import Completions
from worker.serving.queued_request import QueuedRequest
from worker.serving.redis_clock import RedisClock
from worker.serving.turns import Turn

# Answers of `begin`, as they arrive.
RUN, EXPIRED, GONE, CANCELLED, FENCED = (
    status.encode()
    for status in (
        statuses.RUN, statuses.EXPIRED, statuses.GONE, statuses.CANCELLED, statuses.FENCED,
    )
)  # fmt: skip
FRESH_S = 0.02  # older news of a request is renewed before the device takes it up
LOOK_S = 0.5  # how long the device waits for that
# In place of the result of a request that did not run because it was cancelled.
WITHDRAWN = Cancelled("the request was cancelled before it could run")

Begin = Callable[[int, Sequence[QueuedRequest]], Awaitable[set[bytes]]]


class BatchStart:
    """A batch whose `begin` was sent. `number`: of the batch, over 0, unique in this process."""

    def __init__(self, number: int, turn: Turn, in_time: bool, begin: Begin) -> None:
        self.number = number
        self.turn = turn
        self._in_time = in_time
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        self._refused: set[bytes] = set()
        self._news = min(request.received for request in turn.requests)
        self._answer = asyncio.create_task(self._ask(turn.requests))

    @property
    def may_run_unanswered(self) -> bool:
        """Whether the device need not wait for the answer of `begin`: no deadline had passed when
        it was sent, and the requests have just been read from the stream."""
        return self._in_time and self._fresh()

    async def answered(self) -> None:
        """Wait for the answer of `begin`."""
        await self._answer

    def allowed(self, requests: Sequence[QueuedRequest]) -> list[QueuedRequest]:
        """Those of `requests` that may run, as far as is known."""
        return [request for request in requests if request.entry not in self._refused]

    def take_up(self, requests: Sequence[QueuedRequest]) -> list[QueuedRequest]:
        """On the device thread, which runs `requests` next: those that may still run. Old news
        is renewed first; if Redis does not answer soon, what is known decides."""
        self.turn.on_device = True
        if not self._fresh():
            asking = asyncio.run_coroutine_threadsafe(self._renew(), self._loop)
            try:
                asking.result(LOOK_S)
            except (TimeoutError, CancelledError):
                asking.cancel()
        return self.allowed(requests)

    def _fresh(self) -> bool:
        return clock.monotonic() - self._news <= FRESH_S

    async def _renew(self) -> None:
        """News of the whole batch, also where the device runs it in parts."""
        await asyncio.shield(self._answer)
        if not self._fresh() and (left := self.allowed(self.turn.requests)):
            await self._ask(left)

    async def _ask(self, requests: Sequence[QueuedRequest]) -> None:
        sent = clock.monotonic()
        self._refused |= await self._begin(self.number, requests)
        self._news = max(self._news, sent)


class BatchStarter:
    """Sends `begin` for batches, and finishes the requests that must not run."""

    def __init__(
        self,
        scripts: WorkerScripts,
        membership: Membership,
        completions: Completions,
        clock: RedisClock,
    ) -> None:
        self._scripts = scripts
        self._membership = membership
        self._completions = completions
        self._clock = clock
        self._numbers = itertools.count(1)

    async def start(self, turn: Turn) -> BatchStart:
        """Send `begin`: the command is written when this returns, its answer is not awaited."""
        first_ms = min(request.deadline_ms for request in turn.requests)
        in_time = self._clock.certainly_before(first_ms)
        start = BatchStart(next(self._numbers), turn, in_time, self._begin)
        await asyncio.sleep(0)  # the task runs up to its first wait, which writes the command
        return start

    async def _begin(self, number: int, batch: Sequence[QueuedRequest]) -> set[bytes]:
        """The entries that must not run. It may be repeated: a start counts once."""
        items = [(r.entry, r.id, r.deadline_ms, r.flags) for r in batch]
        member = self._membership  # its epoch may be a new one in each try
        now_ms, answers = await until_answered(
            lambda: self._scripts.begin(member.worker, member.epoch, number, items)
        )
        self._clock.observe(now_ms)
        if answers == [FENCED]:
            answers = [GONE] * len(batch)
        by_answer: dict[bytes, list[QueuedRequest]] = {
            RUN: [], EXPIRED: [], GONE: [], CANCELLED: [],
        }  # fmt: skip
        for request, answer in zip(batch, answers, strict=True):
            by_answer[answer].append(request)
        expired, gone, cancelled = by_answer[EXPIRED], by_answer[GONE], by_answer[CANCELLED]
        self._completions.finish(
            expired, [Expired("the deadline passed before it could run")] * len(expired)
        )
        self._completions.finish(cancelled, [WITHDRAWN] * len(cancelled))
        self._completions.release(request.entry for request in gone)
        return {request.entry for request in (*expired, *gone, *cancelled)}
