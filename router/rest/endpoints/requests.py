"""/v2/requests: poll, long-poll or cancel a request, list the open ones. /v2/dead: dead letters."""

from __future__ import annotations

from aiohttp import web

from router.requests.dead_letters import full_json
from router.requests.records import Record
from router.rest.arguments import parse_limit, parse_wait
from router.rest.bodies import Pieces, json_response, rendered
from router.rest.context import GatewayContext
from router.v2 import large_response
from router.v2 import response as v2_response
from router.v2.json_processes import AT_ONCE
from shared import statuses
from shared.envelope import Outcome
from shared.errors import InvalidInput

BINARY = "application/octet-stream"


async def index(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """GET /v2/requests?limit=&after=: accepted and not ended, the nearest deadline first; `next` is
    the `after` of the page that follows."""
    limit = parse_limit(request.query.get("limit"))
    page = await context.open_requests.page(limit, request.query.get("after", ""))
    return json_response({"requests": page.rows, "next": page.next})


async def get(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """200 with the status document; the V2 response is in it under `response` once succeeded.

    `?wait=SECONDS` delays the answer until the request has ended. With
    `Accept: application/octet-stream` a request that succeeded is answered with its V2 response,
    tensors as binary.
    """
    wait_s = parse_wait(request.query.get("wait"))
    record = await context.records.get(request.match_info["id"].lower(), wait_s)
    outcome = record.succeeded()
    if outcome is not None and BINARY in request.headers.get("Accept", ""):
        return await _binary(record, outcome, context)
    return await _json(record, outcome, context)


async def delete(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """204 when cancelled; 409 if it has ended already."""
    await context.records.cancel(request.match_info["id"].lower())
    return web.Response(status=204)


def _headers(record: Record) -> dict[str, str]:
    return {
        "Warmroute-Request-Id": record.id,
        "Warmroute-Worker": record.worker,
        "Warmroute-Cold": "true" if record.cold else "false",
    }


async def _binary(record: Record, outcome: Outcome, context: GatewayContext) -> web.Response:
    body, headers = await rendered(outcome, record.ref, {}, True, context.processes)
    return web.Response(body=body, headers=headers | _headers(record))


async def _json(record: Record, outcome: Outcome | None, context: GatewayContext) -> web.Response:
    shown = record.document()
    headers = _headers(record)
    if outcome is not None:
        try:
            if large_response.is_large(outcome):
                pieces = await large_response.document(
                    outcome, record.ref, {}, False, context.processes
                )
                body = Pieces(large_response.nested(shown, "response", pieces))
                return web.Response(body=body, headers=headers, content_type="application/json")
            shown["response"] = v2_response.document(outcome, record.ref, {}, False)[0]
        except InvalidInput as error:  # FP16 and BF16 have no JSON form
            shown["response_error"] = f"{error.message}: ask with Accept: {BINARY}"
    if not record.terminal:
        headers["Retry-After"] = "1"
    return json_response(shown, headers=headers)


async def dead_letters(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """GET /v2/dead?limit=&after=: newest first; `next` is the `after` of the page that follows."""
    limit = parse_limit(request.query.get("limit"))
    letters, follows = await context.dead_letters.newest(limit, request.query.get("after", ""))
    return json_response({"letters": [letter.document() for letter in letters], "next": follows})


async def dead_letter(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """GET /v2/dead/{entry}: the letter and its request."""
    letter = await context.dead_letters.get(request.match_info["entry"])
    if letter.size <= AT_ONCE:
        return json_response(letter.full_document())
    raw = await context.processes.run(full_json, letter)
    return web.Response(body=raw, content_type="application/json")


async def replay(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """POST /v2/dead/{entry}/replay: 202 with where to poll for the new request.

    A stream entry goes back into the stream door, and will be answered on its own stream.
    """
    entry = request.match_info["entry"]
    request_id, placed = await context.dead_letters.replay(entry)
    if placed.status == statuses.INGRESS:
        return json_response({"status": statuses.QUEUED, "entry": placed.entry}, 202)
    headers = {"Location": f"/v2/requests/{request_id}", "Retry-After": "1"}
    return json_response({"id": request_id, "status": statuses.QUEUED}, 202, headers)


async def drop_dead_letter(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """DELETE /v2/dead/{entry}: 204."""
    await context.dead_letters.drop(request.match_info["entry"])
    return web.Response(status=204)
