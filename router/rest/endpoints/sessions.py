"""/v2/sessions: pin a set of models in memory for as long as their client needs them."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from router.catalog.catalog import LATEST, Entry
from router.fleet.place import refused
from router.rest.arguments import parse_limit, read_timeout
from router.rest.bodies import json_response, read_object, refuse_others
from router.rest.cells import CELLS, gap
from router.rest.context import SMALL_BODY, GatewayContext
from router.rest.session_parts import SessionParts
from shared.errors import InvalidInput, NotFound
from shared.names import VERSION

SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MAX_MODELS = 256
USUAL_TTL_S, SHORTEST_TTL_S, LONGEST_TTL_S = 60.0, 1, 86_400
FIELDS = ("models", "ttl_s", "id", "wait")


async def create(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """POST /v2/sessions: 201; 200 if a session of this `id` with these models is open already.

    With `wait` it is answered when every model is ready or has failed, or at the deadline.
    """
    document = await read_object(request, FIELDS, SMALL_BODY)
    session, ttl_s = _id_of(document), _ttl_of(document) or USUAL_TTL_S
    wait = document.get("wait", False)
    if not isinstance(wait, bool):
        raise InvalidInput("wait: want true or false")
    timeout_s = read_timeout(request, None, context.config)
    with context.control.admitted():
        entries = await _entries(document.get("models"), context)
        sessions = SessionParts(request.app[CELLS])
        is_new = await sessions.open(session, ttl_s, entries)
        if wait:
            await sessions.settled(session, ttl_s, timeout_s, entries)
        headers = {"Location": f"/v2/sessions/{session}"}
        return json_response(await sessions.get(session), 201 if is_new else 200, headers)


async def index(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """GET /v2/sessions?limit=&after=: by id; `next` is the `after` of the page that follows. With
    several cells one cell after the other, a row for each part of a session."""
    limit, after = parse_limit(request.query.get("limit")), request.query.get("after", "")
    cells = request.app[CELLS]
    page = await cells.pages(limit, after, _page)
    rows = [row | ({"cell": cell.cell} if cells.many else {}) for cell, row in page.rows]
    return json_response({"sessions": rows, "next": page.next} | gap(page.away))


async def get(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """GET /v2/sessions/{id}: its expiry, and the state of each model."""
    return json_response(await SessionParts(request.app[CELLS]).get(_named(request)))


async def heartbeat(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """POST /v2/sessions/{id}/heartbeat: open for `ttl_s` from now on, by default its TTL at the
    opening."""
    document = await read_object(request, ("ttl_s",))
    sessions = SessionParts(request.app[CELLS])
    return json_response(await sessions.keep(_named(request), _ttl_of(document)))


async def delete(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """DELETE /v2/sessions/{id}: 204, its models may be evicted again."""
    await SessionParts(request.app[CELLS]).close(_named(request))
    return web.Response(status=204)


async def _page(
    context: GatewayContext, limit: int, after: str
) -> tuple[list[dict[str, Any]], str | None]:
    if after and not SESSION.fullmatch(after):
        raise refused()
    rows = await context.sessions.page(limit, after)
    return rows, rows[-1]["id"] if len(rows) == limit else None


def _named(request: web.Request) -> str:
    session = request.match_info["id"]
    if not SESSION.fullmatch(session):
        raise NotFound("no such session: an id is 1 to 64 of A-Z a-z 0-9 . _ -")
    return session


def _id_of(document: dict[str, Any]) -> str:
    session = document.get("id")
    if session is None:
        return secrets.token_hex(16)
    if not isinstance(session, str) or not SESSION.fullmatch(session):
        raise InvalidInput("id: want 1 to 64 of A-Z a-z 0-9 . _ - starting with a letter or digit")
    return session


def _ttl_of(document: dict[str, Any]) -> float | None:
    ttl_s = document.get("ttl_s")
    if ttl_s is None:
        return None
    is_number = isinstance(ttl_s, int | float) and not isinstance(ttl_s, bool)
    if not is_number or not SHORTEST_TTL_S <= ttl_s <= LONGEST_TTL_S:
        raise InvalidInput(f"ttl_s: want {SHORTEST_TTL_S} to {LONGEST_TTL_S} seconds")
    return float(ttl_s)


async def _entries(models: Any, context: GatewayContext) -> list[Entry]:
    """The models that are named, each once; InvalidInput names the place in the list."""
    if not isinstance(models, list) or not 1 <= len(models) <= MAX_MODELS:
        raise InvalidInput(f"models: want a list of 1 to {MAX_MODELS} models")
    named = [_named_model(model, f"models[{at}]") for at, model in enumerate(models)]
    entries = await asyncio.gather(*(context.catalog.resolve(*one) for one in named))
    return _distinct(entries)


def _distinct(entries: Sequence[Entry]) -> list[Entry]:
    seen: dict[str, int] = {}
    for at, entry in enumerate(entries):
        first = seen.setdefault(str(entry.ref), at)
        if first != at:
            raise InvalidInput(f"models[{at}]: the same model as models[{first}]")
    return list(entries)


def _named_model(model: Any, field: str) -> tuple[str, int]:
    """Name and version of one entry of `models`: a name, or an object with both."""
    if isinstance(model, str):
        return model, LATEST
    if not isinstance(model, dict):
        raise InvalidInput(f"{field}: want a model's name, or an object with name and version")
    refuse_others(model, ("name", "version"), f"{field}.")
    name, version = model.get("name"), model.get("version", LATEST)
    if not isinstance(name, str):
        raise InvalidInput(f"{field}.name: want a model's name")
    if version == LATEST and "version" not in model:
        return name, LATEST
    text = str(version) if isinstance(version, int | str) else ""
    if isinstance(version, bool) or not VERSION.fullmatch(text):
        raise InvalidInput(f"{field}.version: want an integer from 1")
    return name, int(text)
