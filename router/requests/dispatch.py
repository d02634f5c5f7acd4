"""From a checked call to its outcome: placed on a worker, waited for, read.

submit: place (atomic, coalesced; the waiter registered first) -> a ticket, or a refusal
answer: wait for the outcome until the deadline; cancel the request if its caller leaves

A request with an idempotency key is not cancelled when its caller leaves: another call under that
key gets its outcome, and its own deadline ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from router.requests.call import Call, RequestIds, Ticket
from router.requests.cancels import Cancels, DeadlineReplies, cancel_of
from router.requests.placer import Placer
from router.requests.records import read_record
from router.requests.shared_memory import GatewaySharedMemory
from router.requests.waiters import Reply, Waiters
from shared import statuses
from shared.constants import KEEP, POLL
from shared.envelope import Outcome, pack
from shared.errors import Expired, Unavailable, WarmrouteError
from shared.keys import Keys
from shared.scripts import GatewayScripts, Limits, Placed, Placing

STOPPING = "this gateway is stopping; retry at another one"
# A caller gets the answer of a passed deadline from its gateway at the latest this long after it.
GRACE_S = 0.25


class Dispatch:
    """Places requests and returns their outcomes. `unrecorded` is called for a request whose
    deadline passed here, and that did not end so in Redis."""

    def __init__(
        self, gateway: str, keys: Keys, scripts: GatewayScripts, limits: Limits, waiters: Waiters,
        shared_memory: GatewaySharedMemory, unrecorded: Callable[[Ticket, WarmrouteError], None],
    ) -> None:  # fmt: skip
        self._gateway = gateway
        self._keys = keys
        self._scripts = scripts
        self._waiters = waiters
        self._shared_memory = shared_memory
        self._ids = RequestIds(keys.cell)
        self._waiting: dict[asyncio.Future[Reply], Ticket] = {}
        self._cancels = Cancels(scripts)
        self._placer = Placer(keys, scripts, limits, waiters, self._cancels)
        self._deadline_replies = DeadlineReplies(keys, scripts, self._cancels, unrecorded)
        self.draining = False

    async def submit(self, call: Call) -> Ticket:
        """Accept a request, or raise why not. After this returns it reaches one terminal state."""
        if self.draining:
            raise Unavailable(STOPPING, retry_after_s=1)
        assert call.timeout_s is not None, "this is a bug: a call came past the intake"
        request_id = self._ids.take()
        until = asyncio.get_running_loop().time() + call.timeout_s + GRACE_S
        future = self._waiters.register(request_id) if call.waits else None
        try:
            placed = await self._placer.place(self._placing(request_id, call), until)
            placed.raise_for_status(self._placer.limits)
        except BaseException as error:
            self._release(request_id, future)
            if isinstance(error, WarmrouteError):
                error.request_id, error.ref = request_id, str(call.ref)
            raise
        if placed.status == statuses.JOINED and placed.joined_id != request_id:
            self._release(request_id, future)
            return await self._join(placed, call, until)
        if future is not None:
            self._waiters.set_deadline(future, until)
        assert call.ref is not None
        return Ticket(id=request_id, ref=call.ref, call=call, placed=placed, future=future)

    async def answer(self, ticket: Ticket) -> Outcome:
        """Wait for the outcome until the deadline, or raise the error that ended the request. If
        this wait is cancelled, so is the request, unless it has a key."""
        assert ticket.future is not None, "this is a bug: a ticket without a waiter was awaited"
        self._waiting[ticket.future] = ticket
        try:
            return self.read(ticket, await self._reply(ticket, ticket.future))
        finally:
            del self._waiting[ticket.future]
            self._release(ticket.id, ticket.future)

    async def answer_within(self, ticket: Ticket, wait_s: float) -> Outcome | None:
        """As `answer`, for `wait_s` seconds at most; None if the request goes on after that."""
        assert ticket.future is not None, "this is a bug: a ticket without a waiter was awaited"
        self._waiting[ticket.future] = ticket
        try:
            async with asyncio.timeout(wait_s):
                reply = await asyncio.shield(ticket.future)
            return self.read(ticket, reply)
        except TimeoutError:
            return None
        except Expired:
            # The deadline of this wait may be earlier than that of the request it joined.
            if ticket.future.done() and ticket.future.exception() is None:
                raise
            return None
        finally:
            self.forget(ticket)

    async def _reply(self, ticket: Ticket, future: asyncio.Future[Reply]) -> Reply:
        try:
            return await future
        except Expired:
            return await self._deadline_replies.get(ticket)
        except asyncio.CancelledError:
            self.cancel(ticket)
            raise

    def read(self, ticket: Ticket, reply: Reply) -> Outcome:
        """The outcome in a reply; raises the error of a request that did not succeed."""
        reply.raise_for_status()
        ticket.worker, ticket.cold = reply.worker, reply.cold
        return self._shared_memory.outcome(reply.outcome)

    def forget(self, ticket: Ticket) -> None:
        """No caller waits here for this request any more; it goes on."""
        if ticket.future is not None:
            self._waiting.pop(ticket.future, None)
            self._waiters.forget(ticket.id, ticket.future)

    def cancel(self, ticket: Ticket) -> None:
        """Cancel a request in the background, unless it has a key: its caller may send it again."""
        if not ticket.call.key:
            item = cancel_of(self._keys, ticket.id, ticket.placed, str(ticket.ref))
            self._cancels.soon(item, ticket.call.timeout_s or 0)

    def new_id(self) -> str:
        """The id of a request that did not get as far as `submit`."""
        return self._ids.take()

    def stop_accepting(self) -> None:
        """This gateway stops: `submit` refuses from now on; callers that wait get their answers."""
        self.draining = True

    def open_tickets(self) -> list[Ticket]:
        """The requests whose callers wait at this gateway; at its end it hands them over."""
        return list(self._waiting.values())

    async def finish(self, longest_s: float = 1.0) -> None:
        """Wait for the cancels under way, for which Redis is needed."""
        await self._cancels.finish(longest_s)

    async def _join(self, placed: Placed, call: Call, until: float) -> Ticket:
        """The earlier request of the same key: this caller gets its outcome too.

        The waiter is registered before the record is read, so no outcome falls between.
        """
        request_id, ref, status = placed.joined_id, call.ref, statuses.QUEUED
        future = self._waiters.register(request_id) if call.waits else None
        try:
            if call.mode != "stream":  # its answer is written by the outbox
                subscriber = self._gateway if call.waits else ""
                async with asyncio.timeout_at(until):
                    fields = await self._scripts.subscribe(request_id, subscriber)
                record = read_record(request_id, fields)
                ref, status = record.ref, record.shown
                if future is not None and record.terminal and not future.done():
                    future.set_result(record.reply())
        except BaseException as error:
            self._release(request_id, future)
            if isinstance(error, TimeoutError):
                error = Expired(f"request {request_id}: its deadline passed")
            if isinstance(error, WarmrouteError):
                error.request_id, error.ref = request_id, str(ref)
            raise error from None
        if future is not None:
            self._waiters.set_deadline(future, until)
        assert ref is not None
        return Ticket(
            id=request_id, ref=ref, call=call, placed=placed, future=future, joined=True,
            status=status,
        )  # fmt: skip

    def _release(self, request_id: str, future: asyncio.Future[Reply] | None) -> None:
        if future is not None:
            self._waiters.forget(request_id, future)
        self._shared_memory.drop(request_id)

    def _placing(self, request_id: str, call: Call) -> Placing:
        assert call.timeout_s is not None and call.request is not None
        # In the order of its fields: by name it would take twice as long, for every request.
        return Placing(
            request_id,
            str(call.ref),
            max(1, round(call.timeout_s * 1000)),
            self._gateway if call.waits else "",
            KEEP + POLL if call.kept else "",
            call.entry,
            call.reply_to,
            call.request.envelope.id,
            call.key,
            call.fingerprint,
            self._body(request_id, call),
        )

    def _body(self, request_id: str, call: Call) -> bytes:
        """Large tensors of a caller that only waits go through shared memory, if there is any."""
        assert call.request is not None
        envelope = call.request.envelope
        reference = None if call.kept else self._shared_memory.put(request_id, envelope)
        return reference or pack(envelope)
