"""/v2/requests: poll, long-poll or cancel a request, list the open ones."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from router.requests.records import Record
from router.rest.arguments import parse_limit, parse_wait
from router.rest.bodies import Pieces, json_response, rendered
from router.rest.cells import CELLS, gap
from router.rest.context import GatewayContext
from router.v2 import large_response
from router.v2 import response as v2_response
from shared.envelope import Outcome
from shared.errors import InvalidInput

BINARY = "application/octet-stream"


async def index(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """GET /v2/requests?limit=&after=: accepted and not ended, the nearest deadline first; `next` is
    the `after` of the page that follows. With several cells one cell after the other."""
    limit = parse_limit(request.query.get("limit"))
    cells = request.app[CELLS]
    page = await cells.pages(limit, request.query.get("after", ""), _open)
    rows = [row | ({"cell": cell.cell} if cells.many else {}) for cell, row in page.rows]
    return json_response({"requests": rows, "next": page.next} | gap(page.away))


async def _open(
    context: GatewayContext, limit: int, after: str
) -> tuple[list[dict[str, Any]], str | None]:
    page = await context.open_requests.page(limit, after)
    return page.rows, page.next


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
