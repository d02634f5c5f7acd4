"""Paths of Triton's HTTP extensions that this server does not offer: 501, not "no such path"."""

from __future__ import annotations

from contextlib import suppress

from aiohttp import web

from router.rest.context import GatewayContext, door
from router.rest.endpoints.models import metadata
from router.rest.error_responses import not_offered
from shared.errors import NotFound

STATISTICS = "model statistics"
OF_A_MODEL = {
    "/stats": STATISTICS,
    "/trace/setting": "trace settings",
    "/generate": "the generate extension",
    "/generate_stream": "the generate extension",
}
OF_THE_SERVER = {
    "/v2/trace/setting": "trace settings",
    "/v2/logging": "log settings",
    "/v2/repository/{repository}/index": "repositories by name",
    "/v2/repository/{repository}/models/{model}/{verb:load|unload}": "repositories by name",
}
SHARED_MEMORY = ("system", "cuda", "xpu")
_REGIONS = (
    "/status", "/unregister", "/region/{region}/status", "/region/{region}/register",
    "/region/{region}/unregister",
)  # fmt: skip


def routes(model: str, version: str) -> list[web.RouteDef]:
    """One for each such path, whatever the verb; `model` and `version` are the paths of those."""
    found = {base + path: what for base in (model, version) for path, what in OF_A_MODEL.items()}
    found |= OF_THE_SERVER
    for kind in SHARED_MEMORY:
        found |= {f"/v2/{kind}sharedmemory{path}": f"{kind} shared memory" for path in _REGIONS}
    refused = [web.route("*", path, not_offered(what)) for path, what in found.items()]
    return [web.route("*", "/v2/models/stats", door(statistics)), *refused]


async def statistics(request: web.Request, doors: GatewayContext) -> web.StreamResponse:
    """/v2/models/stats: those of all models, unless there is a model of that name."""
    request.match_info["model"] = "stats"
    with suppress(NotFound):
        if request.method in ("GET", "HEAD"):
            return await metadata(request, doors)
    return await not_offered(STATISTICS)(request)
