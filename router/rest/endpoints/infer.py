"""POST /v2/models/{model}[/versions/{version}]/infer: 200 with the outcome, or 202."""

from __future__ import annotations

from typing import cast

from aiohttp import web

from router.requests.call import Call, Ticket
from router.rest.arguments import (
    REPLAYED,
    parse_prefer,
    parse_traceparent,
    read_key,
    read_timeout_header,
)
from router.rest.bodies import expected_bytes, json_response, read_body, rendered
from router.rest.cells import CELLS
from router.rest.context import GatewayContext
from router.rest.error_responses import problem
from router.v2 import request as v2_request
from router.v2 import response as v2_response
from shared.config import RouterConfig
from shared.envelope import Outcome
from shared.errors import WarmrouteError
from shared.manifest import Manifest

ASK_BINARY = (
    "ask for it in binary: parameters.binary_data of the output, or parameters.binary_data_output"
)


async def infer(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """Run a model. 200 with the outcome, or 202 with Location if the caller prefers."""
    limit, intake = context.config.max_body_bytes, context.intake
    call = read_call(request, context.config)
    intake.admit(call, expected_bytes(request, limit))
    try:
        call.body = await read_body(request, limit, compressed=True)
        if call.key and request.app[CELLS].many:
            intake = (await request.app[CELLS].of_key(call.model, call.key)).intake
        ticket = await intake.accept(call)
        try:
            outcome = await intake.finish(ticket)
            return accepted(ticket) if outcome is None else await answered(ticket, outcome, context)
        except WarmrouteError as error:
            intake.failed(ticket, error)
            return failed(ticket, context.named(error))
    finally:
        intake.leave(call)


def read_call(request: web.Request, config: RouterConfig) -> Call:
    """The call that the path and the headers describe, without its body. InvalidInput."""
    headers, named = request.headers, request.match_info
    respond_async, wait_s = parse_prefer(headers.getall("Prefer", []))
    return Call(
        model=named["model"],
        version=named.get("version", ""),
        header_length=headers.get(v2_response.HEADER_LENGTH),
        check_form=_check_form if wait_s or not respond_async else None,
        timeout_s=read_timeout_header(request, config),
        key=read_key(request),
        traceparent=parse_traceparent(headers.get("traceparent", "")),
        mode="respond-async" if respond_async else "wait",
        wait_s=wait_s or 0.0,
    )


def _check_form(parsed: v2_request.InferRequest, manifest: Manifest) -> None:
    v2_request.check_json_form(parsed, manifest, ASK_BINARY)


def refused(request: web.Request, context: GatewayContext, error: WarmrouteError) -> web.Response:
    """The answer for a call that was not accepted, with an id under which the log has it."""
    named = request.match_info
    request_id = context.intake.refused(error, named.get("model", ""), named.get("version", ""))
    return problem(error, request_id)


async def answered(ticket: Ticket, outcome: Outcome, context: GatewayContext) -> web.Response:
    """The V2 response of a request that succeeded."""
    parsed = cast(v2_request.InferRequest, ticket.call.request)
    body, headers = await rendered(
        outcome, ticket.ref, parsed.binary, parsed.binary_default, context.processes
    )
    headers["Warmroute-Request-Id"] = ticket.id
    headers["Warmroute-Worker"] = ticket.worker
    headers["Warmroute-Cold"] = "true" if ticket.cold else "false"
    if ticket.joined:
        headers[REPLAYED] = "true"
    return web.Response(body=body, headers=headers)


def accepted(ticket: Ticket) -> web.Response:
    """202: the request will reach a terminal state; Location is where to poll for it."""
    headers = {
        "Location": f"/v2/requests/{ticket.id}",
        "Retry-After": "1",
        "Warmroute-Request-Id": ticket.id,
        "Vary": "Prefer",
    }
    if ticket.joined:
        headers[REPLAYED] = "true"
    if ticket.call.mode == "respond-async":
        headers["Preference-Applied"] = "respond-async"
    document = {"id": ticket.id, "status": ticket.status, "model": ticket.ref.name}
    return json_response(document, 202, headers)


def failed(ticket: Ticket, error: WarmrouteError) -> web.Response:
    """The answer for a request that was accepted and did not succeed."""
    response = problem(error, ticket.id)
    if ticket.joined:
        response.headers[REPLAYED] = "true"
    return response
