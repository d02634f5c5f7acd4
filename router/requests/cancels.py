"""Cancels in the background, and the replies of callers whose deadline passes.

A caller gets its error without waiting for the cancel. A request that is not cancelled, because
Redis is away until its deadline, runs or ends at that, and its outcome is dropped. One whose
deadline passed ends as expired, in the step that finds out why it waited. Each 504 has a line in
the log: written by that step or, where it found nothing to end, by this gateway.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import NamedTuple

from router.requests.call import Ticket
from router.requests.records import read_record
from router.requests.waiters import Reply
from shared import statuses
from shared.backoff import wait_s
from shared.errors import Expired, Unavailable, WarmrouteError
from shared.keys import Keys
from shared.scripts import Cancel, GatewayScripts, Placed

log = logging.getLogger(__name__)

BATCH = 48  # 20 to 25 commands each
LATE_S = 30.0  # how long the cancel of a request whose deadline has passed is tried
LOOK_S = 0.5  # how long the reply of a passed deadline may wait for Redis
FIRST_WAIT_S, LONGEST_WAIT_S = 0.05, 1.0
TRACED = (statuses.EXPIRED, statuses.FAILED)
AFTER = "; its answer came after that, or Redis did not answer"


def cancel_of(keys: Keys, request_id: str, placed: Placed, ref: str, late: bool = False) -> Cancel:
    """The cancel of a request that was placed there."""
    stream = keys.work(placed.worker) if placed.worker else ""
    return Cancel(request_id, stream, placed.entry, ref, late, placed.since)


class _Waiting(NamedTuple):
    """A cancel that Redis has not answered. `until`: seconds of the event loop's clock."""

    item: Cancel
    until: float
    answer: asyncio.Future[str]


class Cancels:
    """Cancels under way: those of one turn of the event loop, and those that gather while a call is
    under way, go in one call. While Redis is away they are kept, some hundred bytes each, until the
    request has ended by its own deadline. `counts`: cancels sent, and given up."""

    def __init__(self, scripts: GatewayScripts) -> None:
        self._scripts = scripts
        self._waiting: dict[str, _Waiting] = {}  # by request, the oldest first
        self._task: asyncio.Task[None] | None = None
        self.counts: Counter[str] = Counter()
        self.trouble = ""  # why Redis does not answer the one under way

    def __len__(self) -> int:
        return len(self._waiting)

    def soon(self, item: Cancel, within_s: float = LATE_S) -> asyncio.Future[str]:
        """Cancel a request, which ends by itself `within_s` seconds. The future's result is the
        answer of `cancel`, '' if there was none by then."""
        loop = asyncio.get_running_loop()
        waiting = self._waiting.get(item.id)
        if waiting is None:
            waiting = _Waiting(item, loop.time() + within_s, loop.create_future())
            self._waiting[item.id] = waiting
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._send_all())
        return waiting.answer

    async def finish(self, longest_s: float) -> None:
        """Wait for those under way, then give up; afterwards Redis may be closed."""
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task], timeout=longest_s)
            self._task.cancel()
        self._give_up(float("inf"))

    async def _send_all(self) -> None:
        failures = 0
        while self._waiting:
            batch = list(islice(self._waiting.values(), BATCH))
            try:
                answers = await self._scripts.cancel([waiting.item for waiting in batch])
            except Unavailable as error:  # a second cancel changes nothing: it may be repeated
                failures, self.trouble = failures + 1, error.message
                await asyncio.sleep(wait_s(failures, FIRST_WAIT_S, LONGEST_WAIT_S))
                self._give_up(asyncio.get_running_loop().time())
                continue
            failures, self.trouble = 0, ""
            for waiting, answer in zip(batch, answers, strict=True):
                self._end(waiting, answer)
            self.counts["sent"] += len(batch)

    def _give_up(self, now: float) -> None:
        """Give up those whose requests have ended by now, by their own deadlines."""
        late = [waiting for waiting in self._waiting.values() if waiting.until <= now]
        for waiting in late:
            self._end(waiting, "")
        if late:
            self.counts["given_up"] += len(late)
            log.warning("%d cancels were given up: Redis did not answer", len(late))

    def _end(self, waiting: _Waiting, answer: str) -> None:
        self._waiting.pop(waiting.item.id, None)
        if not waiting.answer.done():
            waiting.answer.set_result(answer)


class DeadlineReplies:
    """Replies for callers whose deadline has passed. `unrecorded` is called for a request that was
    answered with 504 and did not end so in Redis."""

    def __init__(
        self, keys: Keys, scripts: GatewayScripts, cancels: Cancels,
        unrecorded: Callable[[Ticket, WarmrouteError], None],
    ) -> None:  # fmt: skip
        self._keys = keys
        self._scripts = scripts
        self._cancels = cancels
        self._unrecorded = unrecorded

    async def get(self, ticket: Ticket) -> Reply:
        """The outcome of a request if it has one after all, else Expired, with the reason. One with
        a key goes on until its own deadline, as its caller may send it again."""
        if ticket.call.key or ticket.placed.status == statuses.PARKED:
            reply = await self._look(ticket)
            if reply is not None:
                return reply
        if ticket.call.key:
            error = Expired(
                f"request {ticket.id}: the deadline passed; retry with its idempotency key to get "
                "its outcome"
            )
            error.traced = not ticket.joined
            raise error
        raise await self._end(ticket)

    async def _look(self, ticket: Ticket) -> Reply | None:
        """The outcome in the record, if there is one; the record is the truth."""
        with suppress(WarmrouteError, TimeoutError):
            async with asyncio.timeout(LOOK_S):
                fields = await self._scripts.subscribe(ticket.id, "")
            record = read_record(ticket.id, fields)
            if record.terminal and record.outcome:
                return record.reply()
        return None

    async def _end(self, ticket: Ticket) -> Expired:
        answer = self._cancels.soon(
            cancel_of(self._keys, ticket.id, ticket.placed, str(ticket.ref), late=True)
        )
        error = Expired(f"request {ticket.id}: the deadline passed")
        error.traced, error.worker = True, ticket.placed.worker
        answer.add_done_callback(partial(self._ended, ticket))
        try:
            async with asyncio.timeout(LOOK_S):
                code, _, why = (await asyncio.shield(answer)).partition(" ")
                if code == Expired.code and why:
                    error.message = f"request {ticket.id}: {why}"
        except TimeoutError:
            if trouble := self._cancels.trouble:
                error.message += f"; {trouble}"
        return error

    def _ended(self, ticket: Ticket, answer: asyncio.Future[str]) -> None:
        if answer.cancelled() or not answer.result().startswith(TRACED):
            error = Expired(f"the deadline passed{AFTER}")
            error.worker = ticket.placed.worker
            self._unrecorded(ticket, error)
