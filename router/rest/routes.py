"""The paths of the HTTP door, and those of Triton's extensions that it does not offer (501)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiohttp import web

from router.rest.cells import by_id, of_model
from router.rest.context import (
    GatewayContext,
    Handler,
    admitted,
    changes_the_cell,
    first_cell,
    handle_errors,
)
from router.rest.endpoints import (
    dead,
    events,
    infer,
    listings,
    models,
    repository,
    requests,
    sessions,
)
from router.rest.error_responses import no_such_path, not_offered, other_verbs
from shared.errors import NotFound

MODEL = "/v2/models/{model}"
SESSION = "/v2/sessions/{id}"
VERSION = MODEL + "/versions/{version}"
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
Choose = Callable[[web.Request], GatewayContext]
Served = Callable[[web.Request], Awaitable[web.StreamResponse]]
_REGIONS = (
    "/status", "/unregister", "/region/{region}/status", "/region/{region}/register",
    "/region/{region}/unregister",
)  # fmt: skip


def _reading(handler: Handler, choose: Choose = first_cell) -> Served:
    return handle_errors(admitted(handler), choose=choose)


def _changing(handler: Handler, choose: Choose = first_cell) -> Served:
    return handle_errors(changes_the_cell(handler), choose=choose)


def routes() -> list[web.RouteDef]:
    """Every path of the HTTP door, the busiest first; then the same with a slash at the end, and
    handlers for unknown paths and verbs.
    A middleware for aiohttp's own 404 and 405 would be one more call around every request.
    """
    found = [
        web.post(MODEL + "/infer", handle_errors(infer.infer, infer.refused, of_model)),
        web.post(VERSION + "/infer", handle_errors(infer.infer, infer.refused, of_model)),
        web.get("/v2", _reading(models.server)),
        web.get("/v2/models", _reading(listings.index)),
        web.get(MODEL + "/versions", _reading(models.versions, of_model)),
        web.get("/v2/health/live", handle_errors(models.live)),
        web.get("/v2/health/ready", handle_errors(models.ready)),
        web.post("/v2/repository/index", _reading(listings.index)),
        web.get("/v2/residency", _reading(listings.fleet)),
        web.get("/v2/events", _reading(events.get)),
        web.get("/v2/requests", _reading(requests.index)),
        web.get("/v2/requests/{id}", _reading(by_id(requests.get))),
        web.delete("/v2/requests/{id}", _changing(by_id(requests.delete))),
        web.get("/v2/dead", _reading(dead.index)),
        web.get("/v2/dead/{entry}", _reading(dead.get)),
        web.post("/v2/dead/{entry}/replay", _changing(dead.replay)),
        web.delete("/v2/dead/{entry}", _changing(dead.drop)),
        web.post("/v2/sessions", _changing(sessions.create)),
        web.get("/v2/sessions", _reading(sessions.index)),
        web.get(SESSION, _reading(sessions.get)),
        web.post(SESSION + "/heartbeat", _changing(sessions.heartbeat)),
        web.delete(SESSION, _changing(sessions.delete)),
    ]
    found += [*_not_offered(), *_of_a_model(MODEL), *_of_a_model(VERSION)]
    verbs: dict[str, set[str]] = {}
    for route in found:
        verbs.setdefault(route.path, set()).add(route.method)
    found += [
        web.route("*", path, other_verbs(taken))
        for path, taken in verbs.items()
        if "*" not in taken
    ]
    found += [web.route(route.method, route.path + "/", route.handler) for route in found]
    return [*found, web.route("*", "/{path:.*}", no_such_path)]


def _of_a_model(base: str) -> list[web.RouteDef]:
    """The paths below that of a model, or of one version of it."""
    kept = base.replace("/v2/", "/v2/repository/", 1)
    return [
        web.get(base, _reading(models.metadata, of_model)),
        web.get(base + "/ready", _reading(models.model_ready, of_model)),
        web.get(base + "/config", _reading(models.config, of_model)),
        web.get(base + "/residency", _reading(models.residency, of_model)),
        web.get(base + "/policy", _reading(models.get_policy, of_model)),
        web.put(base + "/policy", _changing(models.put_policy, of_model)),
        web.post(kept + "/load", _changing(repository.load, of_model)),
        web.post(kept + "/unload", _changing(repository.unload, of_model)),
    ]


def _not_offered() -> list[web.RouteDef]:
    """One for each such path, whatever the verb."""
    found = {base + path: what for base in (MODEL, VERSION) for path, what in OF_A_MODEL.items()}
    found |= OF_THE_SERVER
    for kind in SHARED_MEMORY:
        found |= {f"/v2/{kind}sharedmemory{path}": f"{kind} shared memory" for path in _REGIONS}
    refused = [web.route("*", path, not_offered(what)) for path, what in found.items()]
    return [web.route("*", "/v2/models/stats", _reading(statistics)), *refused]


async def statistics(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """/v2/models/stats: those of all models, unless there is a model of that name."""
    request.match_info["model"] = "stats"
    with suppress(NotFound):
        if request.method in ("GET", "HEAD"):
            return await models.metadata(request, context)
    return await not_offered(STATISTICS)(request)
