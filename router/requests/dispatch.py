"""The journey of a request through a gateway. Every door ends here.

submit: admit -> place (atomic, coalesced; the waiter registered first) -> a ticket, or a refusal
ticket: wait for the outcome until the deadline; take the request back if nobody waits any more

A request with an idempotency key is never taken back because its caller left: whoever asks again
under that key gets its outcome, and its own deadline ends it.
"""

from __future__ import annotations

import asyncio
import random

from router.requests.cancels import Cancels
from router.requests.deadline_answers import Late
from router.requests.placement import Placement
from router.requests.records import read_record
from router.requests.shared_memory import GatewaySharedMemory
from router.requests.submission import Answer, RequestIds, Submission, Ticket
from router.requests.verdict import raise_unless_accepted
from router.requests.waiters import Reply, Waiters
from shared.connection import may_have_run
from shared.constants import KEEP, POLL
from shared.envelope import pack, unpack_error
from shared.errors import Expired, InvalidInput, OutcomeUnknown, Unavailable, WarmrouteError
from shared.keys import Keys
from shared.scripts import Placed, Placing, Scripts

# A caller hears of its deadline from its gateway at the latest this long after it.
GRACE_S = 0.25
# Deadlines are kept in milliseconds: a shorter one has passed before anything can be done.
SHORTEST_S = 0.001
# How long a gateway waits before it places a request with a key again.
AGAIN_AFTER_S = (0.05, 0.25)


class Dispatch:
    """Accepts requests and brings their outcomes home."""

    def __init__(
        self, gateway: str, keys: Keys, scripts: Scripts, placement: Placement, waiters: Waiters,
        max_timeout_s: float, bulk: GatewaySharedMemory,
    ) -> None:  # fmt: skip
        self._gateway = gateway
        self._keys = keys
        self._scripts = scripts
        self._placement = placement
        self._waiters = waiters
        self._max_timeout_s = max_timeout_s
        self._bulk = bulk
        self._ids = RequestIds()
        self.waiting: dict[asyncio.Future[Reply], Ticket] = {}  # a stopping gateway hands them over
        self._cancels = Cancels(scripts)
        self.late = Late(keys, scripts, self._cancels)
        self.draining = False
        placement.abandoned = self._abandoned

    async def submit(self, submission: Submission) -> Ticket:
        """Accept a request, or raise why not. After this returns it reaches one terminal state."""
        self._admit(submission)
        request_id = self._ids.take()
        until = asyncio.get_running_loop().time() + submission.timeout_s + GRACE_S
        future = self._waiters.register(request_id) if submission.wait else None
        try:
            placed = await self._place(self._placing(request_id, submission), until)
            raise_unless_accepted(placed)
        except BaseException as error:
            self._leave(request_id, future)
            if isinstance(error, WarmrouteError):
                error.request_id, error.ref = request_id, str(submission.ref)
            raise
        if placed.status == "joined" and placed.where != request_id:
            self._leave(request_id, future)
            return await self._join(placed, submission, until)
        if future is not None:
            self._waiters.limit(future, until)
        return Ticket(
            id=request_id, ref=submission.ref, placed=placed, future=future, key=submission.key
        )

    async def answer(self, ticket: Ticket) -> Answer:
        """Wait for the answer until the deadline, or raise what became of the request.

        Who goes away takes the request back, unless it has a key.
        """
        assert ticket.future is not None, "this is a bug: a ticket without a waiter was awaited"
        self.waiting[ticket.future] = ticket
        try:
            return self.read(await self._reply(ticket, ticket.future))
        finally:
            del self.waiting[ticket.future]
            self._leave(ticket.id, ticket.future)

    async def _reply(self, ticket: Ticket, future: asyncio.Future[Reply]) -> Reply:
        try:
            return await future
        except Expired:
            return await self.late.reply(ticket)
        except asyncio.CancelledError:
            self.take_back(ticket)
            raise

    def read(self, reply: Reply) -> Answer:
        """The answer in a reply; raises the error of a request that did not succeed."""
        if reply.status != "succeeded":
            error = unpack_error(reply.outcome)
            error.worker = reply.worker
            error.traced = True  # by who decided it
            raise error
        return Answer(reply.worker, reply.cold, self._bulk.outcome(reply.outcome))

    def forget(self, ticket: Ticket) -> None:
        """Nobody waits here for this request any more; it goes on."""
        if ticket.future is not None:
            self.waiting.pop(ticket.future, None)
            self._waiters.forget(ticket.id, ticket.future)

    def take_back(self, ticket: Ticket) -> None:
        """Cancel, in the background, a request that nobody waits for; it may have ended by itself.

        One with a key goes on: its caller may ask again.
        """
        if not ticket.key:
            self._cancel(ticket.id, ticket.placed)

    def new_id(self) -> str:
        """The id of a request that did not get as far as `submit`."""
        return self._ids.take()

    async def finish(self, longest_s: float = 1.0) -> None:
        """Wait for the cancels under way, for which Redis is needed."""
        await self._cancels.finish(longest_s)

    def _admit(self, submission: Submission) -> None:
        if self.draining:
            raise Unavailable("this gateway is stopping", retry_after_s=1)
        if submission.timeout_s < SHORTEST_S:
            raise Expired(f"its deadline passed: {submission.timeout_s * 1e6:g} microseconds")
        if submission.timeout_s > self._max_timeout_s:
            limit = int(self._max_timeout_s * 1e6)
            raise InvalidInput(f"parameters.timeout: over the limit of {limit} microseconds")

    async def _place(self, item: Placing, until: float) -> Placed:
        """What became of it. Expired if Redis is silent until the deadline."""
        placing = self._placement.put(item)
        self._waiters.limit(placing, until)
        try:
            return await placing
        except Unavailable as error:
            # (A stream entry stays at its door until it is accepted.)
            if item.ingress or not may_have_run(error):
                raise
            lost = error
        finally:
            self._waiters.unlimit(placing)
        return await self._place_again(item, until, lost)

    async def _place_again(self, item: Placing, until: float, lost: Unavailable) -> Placed:
        """A lost answer is asked for again under a key, where that is safe, and never without."""
        if not item.key:
            self._cancels.soon(item.id)
            raise OutcomeUnknown(
                "Redis's answer was lost: whether this request runs is unknown; an "
                "Idempotency-Key makes it safe to ask again", retry_after_s=1,
            ) from lost  # fmt: skip
        await asyncio.sleep(random.uniform(*AGAIN_AFTER_S))
        placing = self._placement.put(item)
        self._waiters.limit(placing, until)
        try:
            return await placing
        finally:
            self._waiters.unlimit(placing)

    def _abandoned(self, item: Placing, placed: Placed) -> None:
        """It was placed, but its caller left while Redis was asked."""
        if placed.status in ("placed", "parked") and not item.key and not item.ingress:
            self._cancel(item.id, placed)

    def _cancel(self, request_id: str, placed: Placed) -> None:
        stream = self._keys.work(placed.where) if placed.where else ""
        self._cancels.soon(request_id, stream, placed.entry)

    async def _join(self, placed: Placed, submission: Submission, until: float) -> Ticket:
        """The earlier request of the same key: its outcome comes to this caller too.

        The waiter is registered before the record is read, so no outcome falls between.
        """
        request_id, ref, status = placed.where, submission.ref, "queued"
        future = self._waiters.register(request_id) if submission.wait else None
        try:
            if not submission.ingress:  # its answer comes by the outbox
                watcher = self._gateway if submission.wait else ""
                async with asyncio.timeout_at(until):
                    fields = await self._scripts.subscribe(request_id, watcher)
                record = read_record(request_id, fields)
                ref, status = record.ref, record.shown
                if future is not None and record.terminal and not future.done():
                    future.set_result(record.reply())
        except BaseException as error:
            self._leave(request_id, future)
            if isinstance(error, TimeoutError):
                error = Expired(f"request {request_id}: its deadline passed")
            if isinstance(error, WarmrouteError):
                error.request_id, error.ref = request_id, str(ref)
            raise error from None
        if future is not None:
            self._waiters.limit(future, until)
        return Ticket(
            id=request_id, ref=ref, placed=placed, future=future, key=submission.key, joined=True,
            status=status,
        )  # fmt: skip

    def _leave(self, request_id: str, future: asyncio.Future[Reply] | None) -> None:
        if future is not None:
            self._waiters.forget(request_id, future)
        self._bulk.drop(request_id)

    def _placing(self, request_id: str, submission: Submission) -> Placing:
        # In the order of its fields: by name it would take twice as long, for every request.
        return Placing(
            request_id,
            str(submission.ref),
            max(1, round(submission.timeout_s * 1000)),
            self._gateway if submission.wait else "",
            KEEP + POLL if submission.keep or submission.key else "",
            submission.ingress,
            submission.reply_to,
            submission.envelope.id,
            submission.key,
            submission.fingerprint,
            self._body(request_id, submission),
        )

    def _body(self, request_id: str, submission: Submission) -> bytes:
        """Large tensors of a caller that only waits go through shared memory, if there is any."""
        waits_only = submission.wait and not submission.keep and not submission.key
        reference = self._bulk.put(request_id, submission.envelope) if waits_only else None
        return reference or pack(submission.envelope)
