"""The start of a batch: counted in Redis while the device may already run it.

`begin` counts the start of each request and answers which of them may run: not those that were
cancelled, moved to another worker, or are past their deadline. Its answer is a round trip. The
device need not wait for it where no deadline can have passed; the outcomes always do.

Redis's clock is the only one for deadlines. An answer that carried its time `t` was sent before it
was received, so from then on Redis's clock shows at least `t` plus what has passed here. That is a
lower bound; the upper bound is not known, so a margin far above any delay of an answer is kept.
Clocks drift apart, and a failover brings another clock: a bound is believed for a minute.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

from shared import clock, statuses
from shared.errors import Expired
from shared.retry import until_answered
from shared.scripts import WorkerScripts
from worker.membership import Membership
from worker.serving.completions import Completions
from worker.serving.queued_request import QueuedRequest

BELIEVED_S = 60.0
# Answers of `begin`, as they arrive.
RUN, EXPIRED, GONE, FENCED = (
    status.encode() for status in (statuses.RUN, statuses.EXPIRED, statuses.GONE, statuses.FENCED)
)
MARGIN_MS = 15_000  # over the command timeout: later answers are not waited for


class RedisClock:
    """Bounds on Redis's clock, from the answers of `begin`: only what is certain."""

    def __init__(self) -> None:
        self._ahead_ms: float | None = None
        self._since = 0.0

    def observe(self, now_ms: int) -> None:
        """An answer carried Redis's time. The largest difference came with the least delay."""
        now = clock.monotonic()
        ahead = now_ms - now * 1000
        if self._ahead_ms is None or ahead > self._ahead_ms or now - self._since > BELIEVED_S:
            self._ahead_ms, self._since = ahead, now

    def certainly_before(self, deadline_ms: int) -> bool:
        """Whether Redis's clock cannot have reached `deadline_ms` yet."""
        if self._ahead_ms is None:
            return False
        return clock.monotonic() * 1000 + self._ahead_ms + MARGIN_MS < deadline_ms

    def local_deadline(self, deadline_ms: int) -> float:
        """The moment of `clock.monotonic` at which Redis's clock has certainly reached
        `deadline_ms`. Only after the first observation."""
        assert self._ahead_ms is not None, "this is a bug: Redis's time was not observed yet"
        return (deadline_ms - self._ahead_ms) / 1000


class BatchStart:
    """A batch whose `begin` was sent. `number`: of the batch, over 0, unique in this process.
    `certainly_in_time`: no deadline of the batch had passed when it was sent."""

    def __init__(
        self, number: int, certainly_in_time: bool, answer: asyncio.Task[list[QueuedRequest]]
    ) -> None:
        self.number = number
        self.certainly_in_time = certainly_in_time
        self._answer = answer

    async def allowed(self) -> list[QueuedRequest]:
        """Wait for the answer of `begin`; the requests of the batch that may run."""
        return await self._answer


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

    async def start(self, batch: Sequence[QueuedRequest]) -> BatchStart:
        """Send `begin`: the command is written when this returns, its answer is not awaited."""
        number = next(self._numbers)
        answer = asyncio.create_task(self._begin(number, batch))
        await asyncio.sleep(0)  # the task runs up to its first wait, which writes the command
        first_ms = min(request.deadline_ms for request in batch)
        return BatchStart(number, self._clock.certainly_before(first_ms), answer)

    async def _begin(self, number: int, batch: Sequence[QueuedRequest]) -> list[QueuedRequest]:
        items = [(r.entry, r.id, r.deadline_ms, r.flags) for r in batch]
        member = self._membership  # its epoch may be a new one in each try
        now_ms, answers = await until_answered(
            lambda: self._scripts.begin(member.worker, member.epoch, number, items)
        )
        self._clock.observe(now_ms)
        if answers == [FENCED]:
            answers = [GONE] * len(batch)
        by_answer: dict[bytes, list[QueuedRequest]] = {RUN: [], EXPIRED: [], GONE: []}
        for request, answer in zip(batch, answers, strict=True):
            by_answer[answer].append(request)
        expired = by_answer[EXPIRED]
        self._completions.finish(
            expired, [Expired("the deadline passed before it could run")] * len(expired)
        )
        self._completions.release(request.entry for request in by_answer[GONE])
        return by_answer[RUN]
