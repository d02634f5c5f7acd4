"""A caller whose deadline passes before it has heard anything: what it is told, and what of its
request. It ends as expired, in the step that finds out why it waited; whoever is told 504 has a
line in the log, be it from that step or, where it found nothing to end, from here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from router.requests.cancels import Cancels
from router.requests.records import read_record
from router.requests.submission import Ticket
from router.requests.waiters import Reply
from shared.errors import Expired, WarmrouteError
from shared.keys import Keys
from shared.scripts import Scripts

# How long a gateway may take then to look at Redis.
LOOK_S = 0.5
TRACED = ("expired", "failed")
AFTER = "; its answer came after that, or Redis did not answer"


def ignore(ticket: Ticket, error: WarmrouteError) -> None:
    """Where nobody keeps a log."""


class Late:
    """`untold` is called for a request that was told 504 and did not end so in Redis."""

    def __init__(self, keys: Keys, scripts: Scripts, cancels: Cancels) -> None:
        self._keys = keys
        self._scripts = scripts
        self._cancels = cancels
        self.untold: Callable[[Ticket, WarmrouteError], None] = ignore

    async def reply(self, ticket: Ticket) -> Reply:
        """Its outcome if there is one after all, else Expired, with why. One with a key goes on, as
        its caller may ask again, until its own deadline ends it."""
        if ticket.key or ticket.placed.status == "parked":
            reply = await self._look(ticket)
            if reply is not None:
                return reply
        if ticket.key:
            asks = "; ask again under its key for what became of it"
            error = Expired(f"request {ticket.id}: the deadline passed{asks}")
            error.traced = not ticket.joined
            raise error
        raise await self._end(ticket)

    async def _look(self, ticket: Ticket) -> Reply | None:
        """Where there is a record, it is the truth."""
        with suppress(WarmrouteError, TimeoutError):
            async with asyncio.timeout(LOOK_S):
                fields = await self._scripts.subscribe(ticket.id, "")
            record = read_record(ticket.id, fields)
            if record.terminal and record.outcome:
                return record.reply()
        return None

    async def _end(self, ticket: Ticket) -> Expired:
        placed = ticket.placed
        stream = self._keys.work(placed.where) if placed.where else ""
        task = self._cancels.soon(ticket.id, stream, placed.entry, str(ticket.ref))
        error = Expired(f"request {ticket.id}: the deadline passed")
        error.traced, error.worker = True, placed.where
        if task is None:
            self.untold(ticket, error)
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
            error.worker = ticket.placed.where
            self.untold(ticket, error)
