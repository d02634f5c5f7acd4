"""Long lists, a page at a time: the repository index (Open Inference Protocol), and the fleet.

Without parameters a page is as long as it may be, so only a large cell's clients need follow them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from aiohttp import web

from router.fleet.fleet_pages import MOST_WORKERS, FleetQuery
from router.fleet.json_rows import JsonRows
from router.fleet.load_status import Readiness
from router.fleet.place import Place
from router.rest.arguments import parse_filter, parse_limit
from router.rest.bodies import listing_response, read_body
from router.rest.cell_listings import ModelStates, fleet_report
from router.rest.cells import CELLS
from router.rest.context import GatewayContext
from shared.errors import InvalidInput
from shared.names import ModelRef
from shared.repository import Listed
from shared.slices import in_slices

MOST_ROWS = 10_000  # of the index, on a page
LOOKED_AT = 1000  # models whose states are read at a time
NEXT = "Warmroute-Next"
STATES = ("READY", "UNAVAILABLE")
WORKER_STATES = ("starting", "ready", "draining")
INDEX = "m"

Row = dict[str, str]


async def index(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """POST /v2/repository/index, GET /v2/models: all versions; READY if a worker holds it and
    requests for it are not refused.

    The protocol's answer is a bare list, so the place of the next page is in a header. A page ends
    with the model that fills it; one that is filtered by state may be shorter, even empty.
    """
    only_ready = _only_ready(await read_body(request, 1 << 16))
    state = "READY" if only_ready else parse_filter(request, "state", STATES)
    limit = parse_limit(request.query.get("limit"), MOST_ROWS, MOST_ROWS)
    prefix = parse_filter(request, "prefix")
    place = Place.parse(request.query.get("after", ""), INDEX)
    after: str | None = "" if place is None else place.text
    rows = JsonRows()
    states = ModelStates(request.app[CELLS])
    listing, looked = await context.catalog.listing(), 0  # one: it may take seconds
    while after is not None and rows.count < limit and looked < MOST_ROWS:
        most = min(LOOKED_AT, limit - rows.count, MOST_ROWS - looked)
        page = listing.page(after, prefix, most)
        await states.read(page.rows)
        async for row in in_slices(_rows(page.rows, context, states)):
            if state in ("", row["state"]):
                rows.add(row)
        after, looked = page.next, looked + most
    headers = {} if after is None else {NEXT: str(Place(INDEX, after))}
    return listing_response(rows, headers)


async def fleet(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """GET /v2/residency: workers and the copies of each, totals of models, loads in flight."""
    query = FleetQuery(
        limit=parse_limit(request.query.get("limit"), MOST_WORKERS, MOST_WORKERS),
        after=request.query.get("after", ""),
        prefix=parse_filter(request, "prefix"),
        worker=parse_filter(request, "worker"),
        state=parse_filter(request, "state", WORKER_STATES),
    )
    return listing_response(await fleet_report(request.app[CELLS], query))


def _rows(models: Sequence[Listed], context: GatewayContext, states: ModelStates) -> Iterator[Row]:
    for model in models:
        for version in model.versions:
            key = (model.name, version)
            unread = states.away(model.name) or context.catalog.trouble(*key)
            yield _row(ModelRef(*key, ""), *states.of(key), unread)
        if model.error:
            yield {"name": model.name, "state": "UNAVAILABLE", "reason": model.error}


def _row(ref: ModelRef, warm: bool, trouble: Readiness | None, unread: str) -> Row:
    """`unread`: why its manifest, or its cell, could not be read."""
    refusal = trouble and trouble.refusal
    state = "READY" if warm and not refusal else "UNAVAILABLE"
    reason = trouble.note if trouble else ""
    if state == "UNAVAILABLE":
        reason = refusal.message if refusal else unread or "cold: loaded on demand"
    return {"name": ref.name, "version": str(ref.version), "state": state, "reason": reason}


def _only_ready(body: bytes) -> bool:
    if not body:
        return False
    try:
        document = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise InvalidInput("body: not JSON") from None
    ready = document.get("ready", False) if isinstance(document, dict) else None
    if not isinstance(ready, bool):
        raise InvalidInput("ready: want true or false")
    return ready
