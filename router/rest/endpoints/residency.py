"""GET /v2/residency and GET /v2/models/{model}/residency: who holds what, and why."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from router.rest.context import GatewayContext, resolve_model


async def fleet(request: web.Request, doors: GatewayContext) -> web.StreamResponse:
    """GET /v2/residency: workers and what each holds, totals of models, loads in flight."""
    return _json(await doors.residency.report())


async def model(request: web.Request, doors: GatewayContext) -> web.StreamResponse:
    """GET /v2/models/{model}[/versions/{version}]/residency: its copies, what it waits for, and
    what rules them."""
    entry = await resolve_model(request, doors)
    return _json(await doors.residency.model(entry.ref, entry.manifest.residency))


def _json(document: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), content_type="application/json")
