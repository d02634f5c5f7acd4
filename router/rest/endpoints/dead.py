"""/v2/dead: dead letters. With several cells the name of one is `cell.entry`."""

from __future__ import annotations

from dataclasses import replace as changed

from aiohttp import web

from router.requests.dead_letters import Letter, full_json
from router.rest.arguments import parse_limit
from router.rest.bodies import json_response
from router.rest.cells import CELLS, Cells, gap
from router.rest.context import GatewayContext
from router.v2.json_processes import AT_ONCE
from shared import statuses
from shared.errors import NotFound


async def index(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """GET /v2/dead?limit=&after=: newest first; `next` is the `after` of the page that follows.
    With several cells one cell after the other."""
    limit, cells = parse_limit(request.query.get("limit")), request.app[CELLS]
    page = await cells.pages(limit, request.query.get("after", ""), _newest)
    letters = [_named(letter, cell, cells).document() for cell, letter in page.rows]
    return json_response({"letters": letters, "next": page.next} | gap(page.away))


async def get(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """GET /v2/dead/{entry}: the letter and its request."""
    context, entry = _cell_of(request, context)
    letter = _named(await context.dead_letters.get(entry), context, request.app[CELLS])
    if letter.size <= AT_ONCE:
        return json_response(letter.full_document())
    raw = await context.processes.run(full_json, letter)
    return web.Response(body=raw, content_type="application/json")


async def replay(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """POST /v2/dead/{entry}/replay: 202 with where to poll for the new request, which goes to the
    same cell.

    A stream entry goes back into the stream door, and will be answered on its own stream.
    """
    context, entry = _cell_of(request, context)
    request_id, placed = await context.dead_letters.replay(entry)
    if placed.status == statuses.INGRESS:
        return json_response({"status": statuses.QUEUED, "entry": placed.entry}, 202)
    headers = {"Location": f"/v2/requests/{request_id}", "Retry-After": "1"}
    return json_response({"id": request_id, "status": statuses.QUEUED}, 202, headers)


async def drop(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """DELETE /v2/dead/{entry}: 204."""
    context, entry = _cell_of(request, context)
    await context.dead_letters.drop(entry)
    return web.Response(status=204)


async def _newest(
    context: GatewayContext, limit: int, after: str
) -> tuple[list[Letter], str | None]:
    return await context.dead_letters.newest(limit, after)


def _named(letter: Letter, context: GatewayContext, cells: Cells) -> Letter:
    return changed(letter, entry=f"{context.cell}.{letter.entry}") if cells.many else letter


def _cell_of(request: web.Request, context: GatewayContext) -> tuple[GatewayContext, str]:
    """The cell that the path names, and the entry in it."""
    cells, given = request.app[CELLS], request.match_info["entry"]
    if not cells.many:
        return context, given
    name, _, entry = given.partition(".")
    found = cells.named(name)
    if found is None:
        raise NotFound("no such dead letter: want the name of a cell, then a dot and an entry id")
    return found, entry
