"""The hand-over of a stopping gateway: answers for a while, then 202 with where to poll.

Order matters. The loops end before the hand-over: replies that they read after it would be lost.
Tensors in this gateway's memory go with it, so such a request is cancelled, and its caller retries.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from router.events.followers import Followers
from router.requests.call import Ticket
from router.requests.cancels import cancel_of
from router.requests.dispatch import STOPPING, Dispatch
from router.requests.shared_memory import GatewaySharedMemory
from router.requests.waiters import HandedOver, Waiters, fail
from shared import failpoints, statuses
from shared.channel import Channel
from shared.errors import Unavailable
from shared.keys import Keys
from shared.retry import until_answered
from shared.scripts import CHUNK, GatewayScripts, Waiting
from shared.service import Supervisor

log = logging.getLogger(__name__)

LONGEST_S = 3.0  # for Redis; without an answer callers get 503 and retry
TAKES_IN = ("ingress", "outbox")


class FleetHandover:
    """The end of one gateway in all of its cells."""

    def __init__(self, cells: Sequence[Handover]) -> None:
        self._cells = list(cells)

    async def begin(self) -> None:
        """See Handover."""
        await asyncio.gather(*(cell.begin() for cell in self._cells))

    async def finish(self) -> int:
        """See Handover."""
        return sum(await asyncio.gather(*(cell.finish() for cell in self._cells)))


class Handover:
    """The end of one gateway in a cell: `begin`, then `finish`."""

    def __init__(
        self, gateway: str, keys: Keys, channel: Channel, scripts: GatewayScripts,
        dispatch: Dispatch,
        waiters: Waiters, shared_memory: GatewaySharedMemory, supervisor: Supervisor,
        followers: Followers,
    ) -> None:  # fmt: skip
        self._gateway = gateway
        self._keys = keys
        self._channel = channel
        self._scripts = scripts
        self._dispatch = dispatch
        self._waiters = waiters
        self._shared_memory = shared_memory
        self._supervisor = supervisor
        self._followers = followers

    async def begin(self) -> None:
        """Accept nothing any more; long polls get the present state, followers are disconnected."""
        self._dispatch.stop_accepting()
        self._waiters.end_polls()
        self._followers.end()
        await self._supervisor.stop(*TAKES_IN)

    async def finish(self) -> int:
        """End every wait: with an answer that has come, with 202, or with 503. Deregisters this
        gateway. Returns how many requests go on without it."""
        await failpoints.reach("handover.before")
        self._waiters.end_polls()
        await self._supervisor.stop()
        tickets = self._dispatch.open_tickets()
        try:
            async with asyncio.timeout(LONGEST_S):
                ours = await self._cancel([t for t in tickets if self._shared_memory.holds(t.id)])
                return await self._hand_over([t for t in tickets if t.id not in ours])
        except TimeoutError:
            log.warning("Redis does not answer: %d callers get 503", len(tickets))
            self._refuse(tickets)
            return 0

    async def _cancel(self, tickets: list[Ticket]) -> set[str]:
        """Cancel requests whose tensors are in this process's memory; the ids of the cancelled."""
        items = [cancel_of(self._keys, t.id, t.placed, str(t.ref)) for t in tickets]
        answers: list[str] = []
        for at in range(0, len(items), CHUNK):
            part = items[at : at + CHUNK]
            answers += await until_answered(partial(self._scripts.cancel, part))
        cancelled = [
            ticket
            for ticket, answer in zip(tickets, answers, strict=True)
            if answer == statuses.CANCELLED
        ]
        self._refuse(cancelled)
        return {ticket.id for ticket in cancelled}

    async def _hand_over(self, tickets: list[Ticket]) -> int:
        items = [
            Waiting(t.id, str(t.ref), t.placed.deadline_ms, *self._place_of(t), t.placed.since)
            for t in tickets
        ]
        going_on = await until_answered(partial(self._scripts.hand_over, self._gateway, items))
        with suppress(TimeoutError):  # without them the others are handed over all the same
            async with asyncio.timeout(LONGEST_S / 2):
                await until_answered(partial(self._waiters.read_rest, self._channel))
        pairs = list(zip(tickets, going_on, strict=True))
        handed = [t for t, on in pairs if on and t.future and fail(t.future, HandedOver())]
        self._refuse([ticket for ticket, on in pairs if not on])
        log.info("%d waiting requests go on without this gateway", len(handed))
        return len(handed)

    @staticmethod
    def _refuse(tickets: list[Ticket]) -> None:
        for ticket in tickets:
            if ticket.future is not None:
                fail(ticket.future, Unavailable(STOPPING, retry_after_s=1))

    def _place_of(self, ticket: Ticket) -> tuple[str, str]:
        """Where it was placed: stream and entry, empty for one that is parked."""
        placed = ticket.placed
        return (self._keys.work(placed.worker), placed.entry) if placed.worker else ("", "")
