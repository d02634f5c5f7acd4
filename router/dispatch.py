"""The journey of a request through a gateway. Every door ends here.

submit: admit -> register the waiter -> place (atomic, coalesced) -> a ticket, or a refusal
ticket: wait for the outcome until the deadline; take the request back if nobody waits any more
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from router.gateway_bulk import GatewayBulk
from router.placement import Placement
from router.waiters import Reply, Waiters
from shared.envelope import Envelope, Outcome, pack, unpack_error
from shared.errors import Expired, InvalidInput, Overloaded, Unavailable
from shared.keys import Keys
from shared.names import ModelRef
from shared.scripts import Placed, Placing, Scripts

# A caller hears of its deadline from its gateway at the latest this long after it.
GRACE_S = 0.25


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What a door hands in. `wait`: a caller waits here. `keep`: pollers may ask for it."""

    ref: ModelRef
    envelope: Envelope
    timeout_s: float
    wait: bool = True
    keep: bool = False
    ingress: str = ""
    reply_to: str = ""


class Answer(NamedTuple):
    """The outcome of a request that succeeded, and where it came from."""

    worker: str
    cold: bool
    outcome: Outcome


@dataclass(kw_only=True)
class Ticket:
    """An accepted request."""

    id: str
    ref: ModelRef
    placed: Placed
    future: asyncio.Future[Reply] | None


class RequestIds:
    """Unguessable ids of 128 random bits, drawn in blocks: one system call for many."""

    BLOCK = 256

    def __init__(self) -> None:
        self._ready: list[str] = []

    def take(self) -> str:
        """32 hex digits, never given before."""
        if not self._ready:
            block = secrets.token_hex(16 * self.BLOCK)
            self._ready = [block[at : at + 32] for at in range(0, len(block), 32)]
        return self._ready.pop()


class Dispatch:
    """Accepts requests and brings their outcomes home."""

    def __init__(
        self, gateway: str, keys: Keys, scripts: Scripts, placement: Placement, waiters: Waiters,
        max_timeout_s: float, bulk: GatewayBulk,
    ) -> None:  # fmt: skip
        self._gateway = gateway
        self._keys = keys
        self._scripts = scripts
        self._placement = placement
        self._waiters = waiters
        self._max_timeout_s = max_timeout_s
        self._bulk = bulk
        self._ids = RequestIds()
        self.draining = False

    async def submit(self, submission: Submission) -> Ticket:
        """Accept a request, or raise why not. After this returns it reaches one terminal state."""
        self._admit(submission)
        request_id = self._ids.take()
        longest_s = submission.timeout_s + GRACE_S
        future = self._waiters.register(request_id, longest_s) if submission.wait else None
        try:
            placed = await self._placement.put(self._placing(request_id, submission))
            self._refuse_unless_accepted(placed)
        except BaseException:
            if future is not None:
                self._waiters.forget(request_id, future)
            self._bulk.drop(request_id)
            raise
        return Ticket(id=request_id, ref=submission.ref, placed=placed, future=future)

    async def answer(self, ticket: Ticket) -> Answer:
        """Wait for the answer until the deadline, or raise what became of the request.

        Who goes away takes the request back.
        """
        assert ticket.future is not None, "this is a bug: a ticket without a waiter was awaited"
        try:
            return self.read(await self._reply(ticket, ticket.future))
        finally:
            self._waiters.forget(ticket.id, ticket.future)
            self._bulk.drop(ticket.id)

    async def _reply(self, ticket: Ticket, future: asyncio.Future[Reply]) -> Reply:
        try:
            return await future
        except Expired:
            await self.take_back(ticket)
            raise Expired(f"request {ticket.id}: its deadline passed") from None
        except asyncio.CancelledError:
            await asyncio.shield(self.take_back(ticket))
            raise

    def read(self, reply: Reply) -> Answer:
        """The answer in a reply; raises the error of a request that did not succeed."""
        if reply.status != "succeeded":
            raise unpack_error(reply.outcome)
        return Answer(reply.worker, reply.cold, self._bulk.outcome(reply.outcome))

    def forget(self, ticket: Ticket) -> None:
        """Nobody waits here for this request any more; it goes on."""
        if ticket.future is not None:
            self._waiters.forget(ticket.id, ticket.future)

    async def take_back(self, ticket: Ticket) -> None:
        """Cancel a request of ours that nobody waits for; it may have ended by itself."""
        stream = self._keys.work(ticket.placed.where) if ticket.placed.where else ""
        with suppress(Unavailable):  # then its deadline ends it
            await self._scripts.cancel(ticket.id, stream, ticket.placed.entry)

    def _admit(self, submission: Submission) -> None:
        if self.draining:
            raise Unavailable("this gateway is stopping", retry_after_s=1)
        if submission.timeout_s > self._max_timeout_s:
            limit = int(self._max_timeout_s * 1e6)
            raise InvalidInput(f"parameters.timeout: over the limit of {limit} microseconds")

    def _placing(self, request_id: str, submission: Submission) -> Placing:
        return Placing(
            id=request_id,
            ref=str(submission.ref),
            timeout_ms=max(1, round(submission.timeout_s * 1000)),
            reply=self._gateway if submission.wait else "",
            flags="kp" if submission.keep else "",
            ingress=submission.ingress,
            reply_to=submission.reply_to,
            caller_id=submission.envelope.id,
            body=self._body(request_id, submission),
        )

    def _body(self, request_id: str, submission: Submission) -> bytes:
        """Large tensors of a caller who only waits may take the short way, see shared/bulk.py."""
        waits_only = submission.wait and not submission.keep
        reference = self._bulk.put(request_id, submission.envelope) if waits_only else None
        return reference or pack(submission.envelope)

    @staticmethod
    def _refuse_unless_accepted(placed: Placed) -> None:
        if placed.status == "full":
            raise Overloaded(f"the limit is reached for {placed.where}", retry_after_s=1)
        if placed.status == "unloadable":
            raise unpack_error(placed.where.encode())
        if placed.status == "duplicate":
            raise InvalidInput("this stream entry was taken already")
