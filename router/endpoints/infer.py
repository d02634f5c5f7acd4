"""POST /v2/models/{model}[/versions/{version}]/infer: wait, or be told where to ask."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

import msgspec
from aiohttp import web

from router.dispatch import Answer, Submission, Ticket
from router.doors import Doors, resolve_model
from router.problems import problem, read_body
from router.v2 import request as v2_request
from router.v2 import response as v2_response
from shared.errors import InvalidInput, WarmrouteError

TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_WAIT = re.compile(r"wait=(\d{1,6})")


@dataclass(frozen=True)
class Preference:
    """RFC 7240: answer at once with 202, or after waiting so many seconds."""

    respond_async: bool
    wait_s: float | None


AT_ONCE = Preference(respond_async=False, wait_s=None)


async def infer(request: web.Request, doors: Doors) -> web.StreamResponse:
    """Run a model. 200 with the answer, or 202 with Location if the caller prefers."""
    body = await read_body(request, doors.config.max_body_bytes)
    entry = await resolve_model(request, doors)
    parsed = v2_request.parse(body, request.headers.get(v2_response.HEADER_LENGTH), entry.manifest)
    parsed.envelope.traceparent = parse_traceparent(request.headers.get("traceparent", ""))
    prefer = parse_prefer(request.headers.getall("Prefer", []))
    now = prefer.respond_async and not prefer.wait_s
    submission = Submission(
        ref=entry.ref, envelope=parsed.envelope, timeout_s=_timeout(parsed.timeout_us, doors),
        wait=not now, keep=prefer.respond_async,
    )  # fmt: skip
    ticket = await doors.dispatch.submit(submission)
    if now:
        return accepted(ticket)
    if prefer.respond_async:
        return await _wait_a_while(ticket, prefer.wait_s or 0, parsed, doors)
    try:
        return answered(ticket, await doors.dispatch.answer(ticket), parsed)
    except WarmrouteError as error:
        return problem(error, ticket.id)


async def _wait_a_while(
    ticket: Ticket, wait_s: float, parsed: v2_request.InferRequest, doors: Doors
) -> web.StreamResponse:
    assert ticket.future is not None
    try:
        async with asyncio.timeout(wait_s):
            reply = await asyncio.shield(ticket.future)
        return answered(ticket, doors.dispatch.read(reply), parsed)
    except TimeoutError:
        return accepted(ticket)
    except WarmrouteError as error:
        return problem(error, ticket.id)
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
    return web.Response(body=body, headers=headers)


def accepted(ticket: Ticket) -> web.Response:
    """202: the request will reach a terminal state, and this is where to ask."""
    body = {"id": ticket.id, "status": "queued", "model": ticket.ref.name}
    headers = {
        "Location": f"/v2/requests/{ticket.id}",
        "Retry-After": "1",
        "Preference-Applied": "respond-async",
        "Vary": "Prefer",
    }
    return web.Response(
        status=202, body=msgspec.json.encode(body), headers=headers,
        content_type="application/json",
    )  # fmt: skip


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


def _timeout(timeout_us: int | None, doors: Doors) -> float:
    if timeout_us is None:
        return doors.config.timeout_s
    if timeout_us > doors.config.max_timeout_s * 1e6:
        limit = int(doors.config.max_timeout_s * 1e6)
        raise InvalidInput(f"parameters.timeout: over the limit of {limit} microseconds")
    return timeout_us / 1e6
