"""The intake: what every door does with a call, once.

    admit -> resolve the model -> parse and check -> deadline -> key -> submit: a ticket
    ticket -> wait -> the outcome, or None: the request goes on and its caller polls

A door parses its own protocol into a `Call`, and renders the ticket, the outcome or the error.
"""

from __future__ import annotations

import asyncio

from router.catalog.catalog import LATEST, LONGEST_S, Catalog, Entry, SlowStore
from router.requests.call import Call, Ticket, fingerprint
from router.requests.dispatch import Dispatch
from router.requests.outcome_log import End, FailureLog, RecentOutcomes
from router.requests.waiters import HandedOver
from router.v2 import large_request
from router.v2 import request as v2_request
from router.v2.json_processes import AT_ONCE, JsonProcesses
from shared import clock
from shared.config import RouterConfig
from shared.envelope import Outcome
from shared.errors import (
    ChangedMeanwhile,
    Expired,
    InvalidInput,
    Overloaded,
    WarmrouteError,
)
from shared.manifest import Manifest
from shared.names import ModelRef, parse_version

# Deadlines are kept in milliseconds: a shorter one has passed before anything can be done.
SHORTEST_S = 0.001
RETRY_AFTER_S = 1.0  # for a request over a limit of this gateway


class Intake:
    """The one way into a gateway. Doors share it."""

    def __init__(
        self, config: RouterConfig, catalog: Catalog, dispatch: Dispatch, failures: FailureLog,
        recent: RecentOutcomes, processes: JsonProcesses, admission: Admission | None = None,
    ) -> None:  # fmt: skip
        self._config = config
        self._catalog = catalog
        self._dispatch = dispatch
        self._failures = failures
        self._recent = recent
        self._processes = processes
        limits = config.max_waiting, config.max_bodies_bytes
        self.admission = admission or Admission(*limits)

    def admit(self, call: Call, expected_bytes: int) -> None:
        """Count a call whose body is not read yet; `leave` it in the end. Overloaded."""
        call.admitted_bytes = self.admission.enter(expected_bytes)

    def leave(self, call: Call) -> None:
        """An admitted call has been answered."""
        self.admission.leave(call.admitted_bytes)

    async def accept(self, call: Call) -> Ticket:
        """A ticket for a request that will reach one terminal state, or the error that refuses it.

        InvalidInput names the field. A stream entry may be tried again after Unavailable.
        """
        if call.admitted_bytes and call.request is None:
            call.admitted_bytes = self.admission.settle(call.admitted_bytes, len(call.body))
        version = parse_version(call.version) if call.version else LATEST
        entry, took_s = self._catalog.fresh(call.model, version), 0.0
        if entry is None:
            entry, took_s = await self._resolve(call, version)
        if call.request is None and large_request.is_large(
            call.body, call.header_length, entry.manifest
        ):
            took_s += await self._parse_large(call, entry.manifest)
            parsed = _complete(call, entry.manifest)
        else:
            parsed = _parse(call, entry.manifest)
        call.ref = entry.ref
        given_s = timeout_s(parsed.timeout_us, call.timeout_s, self._config)
        call.timeout_s = given_s - took_s
        if call.timeout_s < SHORTEST_S:
            raise Expired(f"its deadline passed: {given_s * 1e6:g} microseconds")
        if call.key:
            call.fingerprint = await _fingerprint(call, parsed)
        return await self._dispatch.submit(call)

    async def finish(self, ticket: Ticket) -> Outcome | None:
        """The outcome, as soon as it is there. None: the request goes on, and its caller polls.
        Raises the error of a request that did not succeed; pass it to `failed`."""
        if ticket.future is None:
            return None
        if ticket.call.mode != "wait":
            return await self._dispatch.answer_within(ticket, ticket.call.wait_s)
        try:
            outcome = await self._dispatch.answer(ticket)
        except HandedOver:
            return None
        self._recent.add(End(ticket.id, ticket.ref, ticket.worker, ticket.cold))
        return outcome

    def failed(self, ticket: Ticket, error: WarmrouteError) -> None:
        """An accepted request ends with an error: log it, unless Redis has it already."""
        if isinstance(error, ChangedMeanwhile):  # deleted, and published again
            self._catalog.invalidate(ticket.ref.name)
        if not error.traced:
            self._failures.ended(ticket, error)

    def refused(self, error: WarmrouteError, model: str, version: str, entry: str = "") -> str:
        """A call was not accepted: log it. Returns the request id for its answer, which is that of
        the stream entry if there is one."""
        if isinstance(error, ChangedMeanwhile):
            self._catalog.invalidate(model)
        request_id = entry or error.request_id or self._dispatch.new_id()
        if error.ref and not entry:
            self._failures.refused(request_id, ModelRef.parse(error.ref), error)
        else:
            self._failures.note(request_id, error, model, version)
        return request_id

    async def peek_timeout_s(self, call: Call) -> float:
        """How long a call may take, before its model is known; 0 if it will be refused."""
        try:
            head, _ = v2_request.split(call.body, call.header_length)
            parsed = call.request
            if parsed is None:
                timeout_us = await large_request.peek_timeout(head, self._processes)
            else:
                timeout_us = parsed.timeout_us
            return timeout_s(timeout_us, call.timeout_s, self._config)
        except WarmrouteError:
            return 0.0

    async def _resolve(self, call: Call, version: int) -> tuple[Entry, float]:
        """The entry of a model, and the part of its time that the call waited for it: until its
        deadline for an unknown one, up to half of its time for a newer version."""
        within_s = await self.peek_timeout_s(call)
        if call.entry:  # It is tried again instead. Its deadline counts from the time in its id.
            entry = await self._catalog.at_hand(call.model, version, call.waited_s, within_s / 2)
            return entry, 0.0
        began = clock.monotonic()
        try:
            entry = await self._catalog.resolve(
                call.model, version, within_s / 2, within_s or LONGEST_S
            )
        except SlowStore as error:
            raise (
                Expired(f"the deadline passed: {error.message}") if within_s else error
            ) from None
        return entry, clock.monotonic() - began

    async def _parse_large(self, call: Call, manifest: Manifest) -> float:
        """Parse a large body; the part of its time that the call waited for that, maybe behind
        others. (Of a stream entry all time counts from the time in its id.)"""
        began = clock.monotonic()
        call.request = await large_request.parse(
            call.body, call.header_length, manifest, self._config.max_body_bytes, self._processes
        )
        return 0.0 if call.entry else clock.monotonic() - began


def _parse(call: Call, manifest: Manifest) -> v2_request.InferRequest:
    parsed = call.request
    if parsed is None:
        call.request = parsed = v2_request.parse(call.body, call.header_length, manifest)
    else:
        v2_request.check(parsed, manifest)
    return _complete(call, manifest)


def _complete(call: Call, manifest: Manifest) -> v2_request.InferRequest:
    """The parsed request of a call, with what was given beside its body; InvalidInput if its door
    cannot render what it asks for."""
    parsed = call.request
    assert parsed is not None
    if call.check_form is not None:
        call.check_form(parsed, manifest)
    parsed.envelope.traceparent = call.traceparent
    if call.caller_id:
        parsed.envelope.id = call.caller_id
    return parsed


async def _fingerprint(call: Call, parsed: v2_request.InferRequest) -> str:
    """In a thread for a large payload: 16 MiB take 20 ms, without Python's lock."""
    given = call.model, call.version, parsed.envelope
    if len(call.body) <= AT_ONCE:
        return fingerprint(*given)
    return await asyncio.to_thread(fingerprint, *given)


def timeout_s(timeout_us: int | None, given_s: float | None, config: RouterConfig) -> float:
    """Seconds until the deadline: the smaller of `parameters.timeout` and the one given beside the
    body, or the default. InvalidInput for one over the limit."""
    longest_s = config.max_timeout_s
    if timeout_us is not None and timeout_us > longest_s * 1e6:
        raise InvalidInput(
            f"parameters.timeout: over the limit of {int(longest_s * 1e6)} microseconds"
        )
    if given_s is not None and given_s > longest_s:
        raise InvalidInput(f"timeout: over the limit of {longest_s:g} seconds")
    if timeout_us is None:
        return config.timeout_s if given_s is None else given_s
    return timeout_us / 1e6 if given_s is None else min(timeout_us / 1e6, given_s)


class Admission:
    """The requests, and the bytes of their bodies, that one gateway handles at a time.

    Decided before a body is read, so a burst costs nothing but its refusals. Not thread-safe.
    """

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self.requests = 0
        self.bytes = 0

    def enter(self, size: int) -> int:
        """Admit a request whose body has `size` bytes; returns that. Overloaded at a limit."""
        if self.requests >= self._max_requests:
            raise Overloaded(
                f"this gateway handles {self._max_requests} requests, its limit; retry later",
                retry_after_s=RETRY_AFTER_S,
            )
        # One body is always accepted: a limit below the largest body must not refuse it for ever.
        if self.bytes + size > self._max_bytes and self.requests > 0:
            raise Overloaded(
                f"the bodies at this gateway take {self._max_bytes} bytes, its limit; retry later",
                retry_after_s=RETRY_AFTER_S,
            )
        self.requests += 1
        self.bytes += size
        return size

    def settle(self, expected: int, size: int) -> int:
        """The body has been read, and has `size` bytes; returns that."""
        self.bytes += size - expected
        return size

    def leave(self, size: int) -> None:
        """The request has been answered."""
        self.requests -= 1
        self.bytes -= size
