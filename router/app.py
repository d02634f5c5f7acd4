"""The HTTP door: its paths, and the gateway behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web

from router.gateway import Gateway
from router.rest.context import CONTEXT, door
from router.rest.endpoints import (
    dead,
    events,
    infer,
    models,
    policy,
    repository,
    requests,
    residency,
    sessions,
)
from router.rest.error_responses import no_such_path, other_verbs
from router.rest.not_offered import routes as not_offered_routes
from shared.config import RouterConfig

MODEL = "/v2/models/{model}"
SESSION = "/v2/sessions/{id}"
VERSION = MODEL + "/versions/{version}"


def build_app(config: RouterConfig) -> web.Application:
    """The aiohttp application of one gateway."""
    app = web.Application(client_max_size=config.max_body_bytes)
    app.cleanup_ctx.append(lambda app: _life(app, config))
    app.add_routes(routes())
    return app


def routes() -> list[web.RouteDef]:
    """Every path of the HTTP door, the busiest first; then the same with a slash at the end, and
    what is no path or no verb of ours.
    A middleware for aiohttp's own 404 and 405 would be one more call around every request.
    """
    found = [
        web.post(MODEL + "/infer", door(infer.infer, infer.refused)),
        web.post(VERSION + "/infer", door(infer.infer, infer.refused)),
        web.get("/v2", door(models.server)),
        web.get("/v2/models", door(models.index)),
        web.get(MODEL + "/versions", door(models.versions)),
        web.get("/v2/health/live", door(models.live)),
        web.get("/v2/health/ready", door(models.ready)),
        web.post("/v2/repository/index", door(models.index)),
        web.get("/v2/residency", door(residency.fleet)),
        web.get("/v2/events", door(events.get)),
        web.get("/v2/requests", door(requests.index)),
        web.get("/v2/requests/{id}", door(requests.get)),
        web.delete("/v2/requests/{id}", door(requests.delete)),
        web.get("/v2/dead", door(dead.index)),
        web.get("/v2/dead/{entry}", door(dead.get)),
        web.post("/v2/dead/{entry}/replay", door(dead.replay)),
        web.delete("/v2/dead/{entry}", door(dead.delete)),
        web.post("/v2/sessions", door(sessions.create)),
        web.get("/v2/sessions", door(sessions.index)),
        web.get(SESSION, door(sessions.get)),
        web.post(SESSION + "/heartbeat", door(sessions.heartbeat)),
        web.delete(SESSION, door(sessions.delete)),
    ]
    found += [*not_offered_routes(MODEL, VERSION), *_of_a_model(MODEL), *_of_a_model(VERSION)]
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
    """What there is below the path of a model, or of one version of it."""
    kept = base.replace("/v2/", "/v2/repository/", 1)
    return [
        web.get(base, door(models.metadata)),
        web.get(base + "/ready", door(models.model_ready)),
        web.get(base + "/config", door(models.config)),
        web.get(base + "/residency", door(residency.model)),
        web.get(base + "/policy", door(policy.get)),
        web.put(base + "/policy", door(policy.put)),
        web.post(kept + "/load", door(repository.load)),
        web.post(kept + "/unload", door(repository.unload)),
    ]


async def _life(app: web.Application, config: RouterConfig) -> AsyncIterator[None]:
    """The gateway runs while the app does."""
    gateway = Gateway(config)
    await gateway.start()
    app[CONTEXT] = gateway.doors()
    yield
    await gateway.stop()
