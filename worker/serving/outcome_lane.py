"""A lane of outcomes on their way to Redis: in order, coalesced, tried until one of two ends.

    committed   Redis has answered `complete`
    given up    a large outcome: at the deadline of its request, or after `MOST_TRIES` broken tries

A try is broken if the connection was lost or Redis refused while the call was under way, and a
call with nothing in it gets its answer afterwards: a Redis that is away, or a line that swallows
all, breaks none. What was in a broken try goes alone from then on, behind the others: one outcome
that cannot be delivered holds up no other.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from shared import clock
from shared.backoff import wait_s
from shared.errors import Expired, Unavailable, Undeliverable, WarmrouteError
from shared.refusals import NotSent, word_of
from shared.scripts import Completion

log = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 2.0
MAX_BATCH = 128
MOST_TRIES = 3


@dataclass(eq=False)
class Outgoing:
    """An outcome on its way. `until`: the deadline of its request. `read_at`: when its entry was
    read. Both in seconds of `clock.monotonic`."""

    completion: Completion
    until: float = float("inf")
    read_at: float = 0.0
    tries: int = 0  # broken ones
    repeated: bool = False

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.completion.outcome)


Send = Callable[[Sequence[Outgoing]], Awaitable[list[int]]]


class OutcomeLane:
    """Commits what is `put`, one call at a time. `settle(items, won)` gets the answers; `refuse`
    what was given up, and why. `cut()` gives up the call in flight; None: nothing here is large."""

    def __init__(
        self, send: Send, max_bytes: int, settle: Callable[[list[Outgoing], list[int]], None],
        refuse: Callable[[Outgoing, WarmrouteError], None], cut: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        self._send = send
        self._max_bytes = max_bytes
        self._settle = settle
        self._refuse = refuse
        self._cut = cut
        self._waiting: deque[Outgoing] = deque()
        self._task: asyncio.Task[None] | None = None
        self.bytes = 0  # of those that are not settled

    @property
    def busy(self) -> bool:
        """Whether something is under way."""
        return self._task is not None and not self._task.done()

    def put(self, item: Outgoing) -> None:
        """Commit an outcome soon."""
        self._waiting.append(item)
        self.bytes += item.size
        if not self.busy:
            self._task = asyncio.create_task(self._commit_all())

    async def drain(self) -> None:
        """Wait until everything is settled."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def _commit_all(self) -> None:
        failures = 0
        while self._waiting:
            batch = self._take()
            try:
                won = await self._try(batch)
            except Unavailable as error:
                if failures == 0:
                    log.warning("%s: outcomes are sent again until Redis answers", error)
                failures += 1
                self._put_back(batch, error, _may_be_broken(error) and await self._line_is_well())
                if not self._waiting or self._waiting[0].repeated:  # others pass at once
                    await asyncio.sleep(wait_s(failures, FIRST_WAIT_S, LONGEST_WAIT_S))
            except TimeoutError:
                self._end_late(batch)
            except Exception:
                log.exception("this is a bug: %d outcomes were not committed", len(batch))
                self._settled(batch, [0] * len(batch))
            else:
                failures = 0
                self._settled(batch, won)

    def _take(self) -> list[Outgoing]:
        batch, size = [self._waiting.popleft()], 0
        while self._waiting and not batch[0].tries and len(batch) < MAX_BATCH:
            size += batch[-1].size
            if size >= self._max_bytes or self._waiting[0].tries:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _try(self, batch: list[Outgoing]) -> list[int]:
        if self._cut is None:
            return await self._send(batch)
        try:
            left_s = min(item.until for item in batch) - clock.monotonic()
            async with asyncio.timeout(max(0.0, left_s) if left_s < float("inf") else None):
                return await self._send(batch)
        except TimeoutError:
            self._cut()
            raise

    async def _line_is_well(self) -> bool:
        """Whether a call that carries nothing gets through."""
        try:
            await self._send([])
        except Exception:  # whatever it was, the batch has not caused it
            return False
        return True

    def _put_back(self, batch: list[Outgoing], error: Unavailable, broken: bool) -> None:
        for item in batch:
            item.tries += broken
            item.repeated = True
        if not broken:
            self._waiting.extendleft(reversed(batch))
            return
        for item in batch:
            if item.tries < MOST_TRIES or (self._cut is None and clock.monotonic() < item.until):
                self._waiting.append(item)
            elif self._cut is None:  # no failure that could replace it is smaller
                log.error("%r: its outcome was not taken: %s", item.completion.id, error.message)
                self._settled([item], [0])
            else:
                self._give_up(item, _undeliverable(item, error))

    def _end_late(self, batch: list[Outgoing]) -> None:
        """The deadline of at least one has passed: the others go on without it."""
        first = min(item.until for item in batch)
        for item in [item for item in batch if item.until == first]:
            self._give_up(item, _late(item))
        left = [item for item in batch if item.until > first]
        for item in left:
            item.repeated = True
        self._waiting.extendleft(reversed(left))

    def _give_up(self, item: Outgoing, error: WarmrouteError) -> None:
        self.bytes -= item.size
        self._refuse(item, error)

    def _settled(self, batch: list[Outgoing], won: list[int]) -> None:
        self.bytes -= sum(item.size for item in batch)
        self._settle(batch, won)


def _late(item: Outgoing) -> Expired:
    return Expired(f"the deadline passed while its outcome of {item.size} bytes was sent to Redis")


def _undeliverable(item: Outgoing, error: Unavailable) -> Undeliverable:
    return Undeliverable(
        f"its outcome of {item.size} bytes could not be brought to Redis in {item.tries} tries: "
        f"{error.message}"
    )


def _may_be_broken(error: Unavailable) -> bool:
    """Whether the call may have failed for what it carried: Redis was there."""
    cause = error.__cause__
    return isinstance(cause, Exception) and not isinstance(cause, NotSent) and not word_of(cause)
