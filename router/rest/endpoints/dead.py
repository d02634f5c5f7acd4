"""GET, POST and DELETE under /v2/dead: look at dead letters, replay or drop them."""

from __future__ import annotations

import msgspec
from aiohttp import web

from router.requests.dead_letters import MAX_LISTED
from router.requests.verdict import raise_unless_accepted
from router.rest.context import GatewayContext
from shared.errors import InvalidInput

USUAL_LIMIT = 50


async def index(request: web.Request, doors: GatewayContext) -> web.StreamResponse:
    """GET /v2/dead?limit=&after=: newest first; `next` is the `after` of the page that follows."""
    limit = parse_limit(request.query.get("limit"))
    letters = await doors.dead.newest(limit, request.query.get("after", ""))
    follows = letters[-1].entry if len(letters) == limit else None
    return _json({"letters": [letter.document() for letter in letters], "next": follows})


async def get(request: web.Request, doors: GatewayContext) -> web.StreamResponse:
    """GET /v2/dead/{entry}: the letter and what was asked."""
    return _json((await doors.dead.get(request.match_info["entry"])).full_document())


async def replay(request: web.Request, doors: GatewayContext) -> web.StreamResponse:
    """POST /v2/dead/{entry}/replay: 202 with where to ask for the new request.

    A stream entry goes back into the stream door, and will be answered on its own stream.
    """
    entry = request.match_info["entry"]
    request_id, placed = await doors.dead.replay(entry)
    if placed.status == "ingress":
        return _json({"status": "queued", "entry": placed.entry}, 202)
    raise_unless_accepted(placed)
    headers = {"Location": f"/v2/requests/{request_id}", "Retry-After": "1"}
    return _json({"id": request_id, "status": "queued"}, 202, headers)


async def delete(request: web.Request, doors: GatewayContext) -> web.StreamResponse:
    """DELETE /v2/dead/{entry}: 204."""
    await doors.dead.drop(request.match_info["entry"])
    return web.Response(status=204)


def parse_limit(text: str | None) -> int:
    """How many letters `?limit=` asks for; InvalidInput unless 1 to 1,000."""
    if text is None:
        return USUAL_LIMIT
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MAX_LISTED:
        raise InvalidInput(f"limit: want 1 to {MAX_LISTED}")
    return int(text)


def _json(
    document: object, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    raw = msgspec.json.encode(document)
    return web.Response(status=status, body=raw, headers=headers, content_type="application/json")
