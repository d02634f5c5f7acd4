"""POST /v2/models/{model}[/versions/{version}]/infer: wait, or be told where to ask."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

import msgspec
from aiohttp import web

from router.catalog.catalog import Entry
from router.requests.admission import expected_bytes
from router.requests.idempotency import REPLAYED, fingerprint, read_key
from router.requests.recent_outcomes import End
from router.requests.submission import Answer, Submission, Ticket
from router.requests.waiters import HandedOver
from router.rest.bodies import read_body
from router.rest.context import GatewayContext, resolve_model
from router.rest.error_responses import problem
from router.v2 import request as v2_request
from router.v2 import response as v2_response
from router.v2.peek import peek_timeout_us
from shared.config import RouterConfig
from shared.errors import Expired, InvalidInput, WarmrouteError
from shared.names import ModelRef

TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
TIMEOUT = "Warmroute-Timeout"
ASK_BINARY = (
    "ask for it in binary: parameters.binary_data of the output, or parameters.binary_data_output"
)
_WAIT = re.compile(r'wait="?(\d{1,6})"?')
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


@dataclass(frozen=True)
class Preference:
    """RFC 7240: answer at once with 202, or after waiting so many seconds."""

    respond_async: bool
    wait_s: float | None


AT_ONCE = Preference(respond_async=False, wait_s=None)


async def infer(request: web.Request, doors: GatewayContext) -> web.StreamResponse:
    """Run a model. 200 with the answer, or 202 with Location if the caller prefers."""
    limit, admission = doors.config.max_body_bytes, doors.admission
    held = admission.enter(expected_bytes(request, limit))
    try:
        body = await read_body(request, limit)
        held = admission.settle(held, len(body))
        entry = await resolve_model(request, doors, lambda: _patience_s(request, body, doors))
        length = request.headers.get(v2_response.HEADER_LENGTH)
        parsed = v2_request.parse(body, length, entry.manifest)
        parsed.envelope.traceparent = parse_traceparent(request.headers.get("traceparent", ""))
        prefer = parse_prefer(request.headers.getall("Prefer", []))
        if not prefer.respond_async or prefer.wait_s:
            v2_request.check_json_form(parsed, entry.manifest, ASK_BINARY)
        ticket = await doors.dispatch.submit(_submission(request, entry, parsed, prefer, doors))
        if ticket.future is None:
            return accepted(ticket)
        if prefer.respond_async:
            return await _wait_a_while(ticket, prefer.wait_s or 0, parsed, doors)
        try:
            answer = await doors.dispatch.answer(ticket)
            response = answered(ticket, answer, parsed)
            doors.remembered.add(End(ticket.id, ticket.ref, answer.worker, answer.cold))
            return response
        except HandedOver:  # not asked for, but how the caller gets its answer after all
            return accepted(ticket, preferred=False)
        except WarmrouteError as error:
            return _failed(ticket, error, doors)
    finally:
        admission.leave(held)


def refused(request: web.Request, doors: GatewayContext, error: WarmrouteError) -> web.Response:
    """The answer to what was not accepted, with an id under which the log has it."""
    request_id = error.request_id or doors.dispatch.new_id()
    named = request.match_info
    if error.ref:
        doors.failures.refused(request_id, ModelRef.parse(error.ref), error)
    else:
        doors.failures.note(request_id, error, named.get("model", ""), named.get("version", ""))
    return problem(error, request_id)


def _patience_s(request: web.Request, body: bytes, doors: GatewayContext) -> float:
    """How long this caller would wait for a newer version: half of what its deadline leaves it."""
    try:
        head, _ = v2_request.split(body, request.headers.get(v2_response.HEADER_LENGTH))
        return read_timeout(request, peek_timeout_us(head), doors.config) / 2
    except WarmrouteError:
        return 0.0  # it will be refused


def _submission(
    request: web.Request, entry: Entry, parsed: v2_request.InferRequest, prefer: Preference,
    doors: GatewayContext,
) -> Submission:  # fmt: skip
    key = read_key(request)
    return Submission(
        ref=entry.ref,
        envelope=parsed.envelope,
        timeout_s=read_timeout(request, parsed.timeout_us, doors.config),
        wait=not prefer.respond_async or bool(prefer.wait_s),
        keep=prefer.respond_async,
        key=key,
        fingerprint=_fingerprint(request, parsed) if key else "",
    )


def _fingerprint(request: web.Request, parsed: v2_request.InferRequest) -> str:
    """By the version that was named, not the one it is today."""
    named = request.match_info
    return fingerprint(named["model"], named.get("version", ""), parsed.envelope)


async def _wait_a_while(
    ticket: Ticket, wait_s: float, parsed: v2_request.InferRequest, doors: GatewayContext
) -> web.StreamResponse:
    assert ticket.future is not None
    doors.dispatch.waiting[ticket.future] = ticket
    try:
        async with asyncio.timeout(wait_s):
            reply = await asyncio.shield(ticket.future)
        return answered(ticket, doors.dispatch.read(reply), parsed)
    except TimeoutError:
        return accepted(ticket)
    except WarmrouteError as error:
        # Its own deadline may be later than this caller's; where to ask says more than a 504.
        heard = ticket.future.done() and ticket.future.exception() is None
        late = isinstance(error, Expired) and not heard
        return accepted(ticket) if late else _failed(ticket, error, doors)
    finally:
        doors.dispatch.forget(ticket)


def answered(ticket: Ticket, answer: Answer, parsed: v2_request.InferRequest) -> web.Response:
    """The V2 response of a request that succeeded."""
    body, headers = v2_response.render(
        answer.outcome, ticket.ref, parsed.binary, parsed.binary_default
    )
    headers["Warmroute-Request-Id"] = ticket.id
    headers["Warmroute-Worker"] = answer.worker
    headers["Warmroute-Cold"] = "true" if answer.cold else "false"
    if ticket.joined:
        headers[REPLAYED] = "true"
    return web.Response(body=body, headers=headers)


def accepted(ticket: Ticket, preferred: bool = True) -> web.Response:
    """202: the request will reach a terminal state, and this is where to ask."""
    body = {"id": ticket.id, "status": ticket.status, "model": ticket.ref.name}
    headers = {
        "Location": f"/v2/requests/{ticket.id}",
        "Retry-After": "1",
        "Warmroute-Request-Id": ticket.id,
        "Vary": "Prefer",
    }
    if ticket.joined:
        headers[REPLAYED] = "true"
    if preferred:
        headers["Preference-Applied"] = "respond-async"
    return web.Response(
        status=202, body=msgspec.json.encode(body), headers=headers,
        content_type="application/json",
    )  # fmt: skip


def _failed(ticket: Ticket, error: WarmrouteError, doors: GatewayContext) -> web.Response:
    """Of what was accepted. What only this gateway knows it writes down itself."""
    if not error.traced:
        doors.failures.ended(ticket, error)
    response = problem(error, ticket.id)
    if ticket.joined:
        response.headers[REPLAYED] = "true"
    return response


def parse_prefer(values: list[str]) -> Preference:
    """Unknown preferences are ignored, as RFC 7240 says."""
    if not values:
        return AT_ONCE
    parts = [part.strip().lower() for value in values for part in value.split(",")]
    waits = [match for part in parts if (match := _WAIT.fullmatch(part))]
    wait_s = float(waits[0][1]) if waits else None
    return Preference("respond-async" in parts, wait_s)


def parse_traceparent(value: str) -> str:
    """The header, or '' if it is not valid (W3C Trace Context: then ignore it)."""
    head = value[:55]
    return head if TRACEPARENT.fullmatch(head) and not head.startswith("ff") else ""


def read_timeout(request: web.Request, timeout_us: int | None, config: RouterConfig) -> float:
    """The deadline in seconds from now: of the header and `parameters.timeout` the smaller."""
    longest_s, header = config.max_timeout_s, request.headers.get(TIMEOUT)
    if timeout_us is not None and timeout_us > longest_s * 1e6:
        limit = int(longest_s * 1e6)
        raise InvalidInput(f"parameters.timeout: over the limit of {limit} microseconds")
    given_s = None if timeout_us is None else timeout_us / 1e6
    if header is None:
        return config.timeout_s if given_s is None else given_s
    if len(request.headers.getall(TIMEOUT)) > 1:
        raise InvalidInput(f"{TIMEOUT}: given twice")
    header_s = float(header) if _SECONDS.fullmatch(header) else 0.0
    if not 0 < header_s <= longest_s:
        raise InvalidInput(f"{TIMEOUT}: want seconds, more than 0 and at most {longest_s:g}")
    return header_s if given_s is None else min(header_s, given_s)
