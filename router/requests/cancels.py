"""Cancels in the background, and the replies of callers whose deadline passes.

A caller gets its error without waiting for the cancel. Best effort: a request that is not cancelled
runs, or ends at its own deadline, and its outcome is dropped. One whose deadline passed ends as
expired, in the step that finds out why it waited. Each 504 has a line in the log: written by that
step or, where it found nothing to end, by this gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from router.requests.call import Ticket
from router.requests.records import read_record
from router.requests.waiters import Reply
from shared import retry, statuses
from shared.errors import Expired, Unavailable, WarmrouteError
from shared.keys import Keys
from shared.scripts import GatewayScripts
from shared.tasks import BackgroundTasks

MOST = 1000  # under way at once; a cancel costs little, but Redis may be away for long
GIVE_UP_S = 30.0
LOOK_S = 0.5  # how long the reply of a passed deadline may wait for Redis
TRACED = (statuses.EXPIRED, statuses.FAILED)
AFTER = "; its answer came after that, or Redis did not answer"


class Cancels:
    """Cancels under way."""

    def __init__(self, scripts: GatewayScripts) -> None:
        self._scripts = scripts
        self._tasks: BackgroundTasks[str] = BackgroundTasks()

    def soon(
        self, request_id: str, stream: str = "", entry: str = "", late: str = ""
    ) -> asyncio.Task[str] | None:
        """Cancel a request. `stream` and `entry` say where it is if it may have no record; `late`,
        its ref, that its deadline has passed. The task's result is the answer of `cancel`, '' if
        there was none. None if too many are under way."""
        if len(self._tasks) >= MOST:
            return None
        return self._tasks.start(self._cancel(request_id, stream, entry, late))

    async def finish(self, longest_s: float) -> None:
        """Wait for those under way, then give up; afterwards Redis may be closed."""
        await self._tasks.finish(longest_s)

    async def _cancel(self, request_id: str, stream: str, entry: str, late: str) -> str:
        """A second cancel changes nothing, so it may be repeated."""
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(GIVE_UP_S):
                return await retry.until_answered(
                    lambda: self._scripts.cancel(request_id, stream, entry, late)
                )
        return ""


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
        placed = ticket.placed
        stream = self._keys.work(placed.worker) if placed.worker else ""
        task = self._cancels.soon(ticket.id, stream, placed.entry, str(ticket.ref))
        error = Expired(f"request {ticket.id}: the deadline passed")
        error.traced, error.worker = True, placed.worker
        if task is None:
            self._unrecorded(ticket, error)
            return error
        task.add_done_callback(partial(self._ended, ticket))
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                code, _, why = (await asyncio.shield(task)).partition(" ")
                if code == Expired.code and why:
                    error.message = f"request {ticket.id}: {why}"
        return error

    def _ended(self, ticket: Ticket, task: asyncio.Task[str]) -> None:
        if task.cancelled() or not task.result().startswith(TRACED):
            error = Expired(f"the deadline passed{AFTER}")
            error.worker = ticket.placed.worker
            self._unrecorded(ticket, error)
