"""GET /v2/events: events of model copies, as a page of JSON or as server-sent events.

Server-sent events are written without a library: they are three lines of text per event, and no
library offers resuming, limits and the stop of a gateway.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import msgspec
from aiohttp import web

from router.events.followers import Followers
from router.events.pages import EventFilter, Page, parse_filter
from router.rest.arguments import parse_limit
from router.rest.bodies import json_response
from router.rest.cell_events import events_page, since_of
from router.rest.cells import CELLS, Cells
from router.rest.context import GatewayContext
from shared import clock
from shared.errors import InvalidInput, WarmrouteError
from shared.events import Position, id_of

WRITE_S = 30.0  # a follower that reads nothing for this time is disconnected

DEFAULT_LIMIT = 100

log = logging.getLogger(__name__)

STREAM = "text/event-stream"
KEEP_ALIVE_S = 15.0
RETRY_MS = 1000  # how soon a browser connects again
HEADERS = {"Content-Type": STREAM, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}


async def get(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """`?model=&worker=&kind=&since=&limit=&cell=`. With `Accept: text/event-stream` it goes on
    until the client hangs up, from `Last-Event-ID`, else `since`, else now on.

    Else a page, newest last: the first `limit` behind `since`, or the last `limit` of all. `last`
    is the `since` of the page that follows; `gap` says that events in between were dropped.
    """
    cells = _cells(request)
    accepts = parse_filter(request.query, request.query.getall("kind", []))
    limit = parse_limit(request.query.get("limit"), DEFAULT_LIMIT)
    # A client that connects again sends both, and the header is the later one.
    field = "Last-Event-ID" if request.headers.get("Last-Event-ID") else "since"
    text = request.headers.get("Last-Event-ID") or request.query.get("since")
    if STREAM not in request.headers.get("Accept", "") or request.method != "GET":
        return json_response(await events_page(cells, text, field, limit, accepts))
    if cells.many:
        raise InvalidInput(f"cell: want one of {', '.join(cells.names)} to follow")
    context = cells.first
    since = None if text is None else await since_of(context, text, field)
    with context.followers.joined():
        position = await context.events.end() if since is None else since
        return await _follow(request, context.followers, accepts, position)


def _cells(request: web.Request) -> Cells:
    """All cells, or the one that `?cell=` names. InvalidInput."""
    cells, name = request.app[CELLS], request.query.get("cell")
    if name is None:
        return cells
    if cells.named(name) is None:
        raise InvalidInput(f"cell: want one of {', '.join(cells.names)}")
    return cells.only(name)


async def _follow(
    request: web.Request, followers: Followers, accepts: EventFilter, position: Position
) -> web.StreamResponse:
    """Write events until the client disconnects or the gateway stops."""
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(request)
    with suppress(ConnectionResetError, TimeoutError):  # it has hung up, or does not read
        # An id alone is not an event, but the client resumes from it.
        await response.write(f"retry: {RETRY_MS}\nid: {id_of(position)}\n\n".encode())
        written_at = clock.monotonic()
        while not followers.ended:
            try:
                page = await followers.next(position, KEEP_ALIVE_S)
            except WarmrouteError as error:
                log.info("a follower of events is disconnected: %s", error.message)
                break
            position = page.position
            text = render(page, accepts)
            if not text and clock.monotonic() - written_at >= KEEP_ALIVE_S:
                text = f": nothing new\nid: {id_of(position)}\n\n".encode()
            if text:
                async with asyncio.timeout(WRITE_S):
                    await response.write(text)
                written_at = clock.monotonic()
        await response.write_eof()
    return response


def render(page: Page, accepts: EventFilter) -> bytes:
    """The accepted events of a page as server-sent events, and `event: gap` where some are missing
    before them."""
    parts = [b"event: gap\ndata: {}\n\n"] if page.gap else []
    for event in page.events:
        if accepts(event):
            data = msgspec.json.encode(event.document())
            parts.append(b"id: %s\ndata: %s\n\n" % (event.id.encode(), data))
    return b"".join(parts)
