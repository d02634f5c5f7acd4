"""/v2/requests: poll, long-poll or cancel a submitted request; list those that have not ended."""

from __future__ import annotations

import msgspec
from aiohttp import web

from router.requests.records import Record, parse_wait
from router.rest.context import GatewayContext
from router.rest.endpoints.dead import parse_limit
from router.v2 import response as v2_response
from shared.errors import InvalidInput

BINARY = "application/octet-stream"


async def index(request: web.Request, doors: GatewayContext) -> web.StreamResponse:
    """GET /v2/requests?limit=&after=: accepted and not ended, the nearest deadline first; `next` is
    the `after` of the page that follows."""
    limit = parse_limit(request.query.get("limit"))
    page = await doors.open_requests.page(limit, request.query.get("after", ""))
    document = {"requests": page.rows, "next": page.next}
    return web.Response(body=msgspec.json.encode(document), content_type="application/json")


async def get(request: web.Request, doors: GatewayContext) -> web.StreamResponse:
    """200 with the status document; the V2 response is in it under `response` once succeeded.

    `?wait=SECONDS` holds the answer back until the request has ended. With
    `Accept: application/octet-stream` a request that succeeded is answered with its V2 response,
    tensors as binary.
    """
    wait_s = parse_wait(request.query.get("wait"))
    record = await doors.records.get(request.match_info["id"].lower(), wait_s)
    if BINARY in request.headers.get("Accept", ""):
        binary = _binary(record)
        if binary is not None:
            return binary
    return _json(record)


async def delete(request: web.Request, doors: GatewayContext) -> web.StreamResponse:
    """204 when taken back; 409 if it has ended already."""
    await doors.records.cancel(request.match_info["id"].lower())
    return web.Response(status=204)


def _headers(record: Record) -> dict[str, str]:
    return {
        "Warmroute-Request-Id": record.id,
        "Warmroute-Worker": record.worker,
        "Warmroute-Cold": "true" if record.cold else "false",
    }


def _binary(record: Record) -> web.Response | None:
    outcome = record.succeeded()
    if outcome is None:
        return None
    body, headers = v2_response.render(outcome, record.ref, {}, True)
    return web.Response(body=body, headers=headers | _headers(record))


def _json(record: Record) -> web.Response:
    shown = record.document()
    outcome = record.succeeded()
    if outcome is not None:
        try:
            shown["response"] = v2_response.document(outcome, record.ref, {}, False)[0]
        except InvalidInput as error:  # FP16 and BF16 have no JSON form
            shown["response_error"] = f"{error.message}: ask with Accept: {BINARY}"
    headers = _headers(record)
    if not record.terminal:
        headers["Retry-After"] = "1"
    return web.Response(
        body=msgspec.json.encode(shown), headers=headers, content_type="application/json"
    )
