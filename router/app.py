"""The HTTP door: its paths, and the gateway behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web

from router.doors import DOORS, door
from router.endpoints import dead, infer, models, requests
from router.gateway import Gateway
from router.problems import no_such_path, wrong_verb
from shared.config import RouterConfig

MODEL = "/v2/models/{model}"
VERSION = MODEL + "/versions/{version}"


def build_app(config: RouterConfig) -> web.Application:
    """The aiohttp application of one gateway."""
    app = web.Application(client_max_size=config.max_body_bytes)
    app.cleanup_ctx.append(lambda app: _life(app, config))
    app.add_routes(routes())
    return app


def routes() -> list[web.RouteDef]:
    """Every path of the HTTP door, the busiest first; then what is no path or no verb of ours.

    A middleware for aiohttp's own 404 and 405 would be one more call around every request.
    """
    found = [
        web.post(MODEL + "/infer", door(infer.infer)),
        web.post(VERSION + "/infer", door(infer.infer)),
        web.get("/v2", door(models.server)),
        web.get("/v2/health/live", door(models.live)),
        web.get("/v2/health/ready", door(models.ready)),
        web.post("/v2/repository/index", door(models.index)),
        web.get("/v2/residency", door(models.residency)),
        web.get("/v2/requests/{id}", door(requests.get)),
        web.delete("/v2/requests/{id}", door(requests.delete)),
        web.get("/v2/dead", door(dead.index)),
        web.get("/v2/dead/{entry}", door(dead.get)),
        web.post("/v2/dead/{entry}/replay", door(dead.replay)),
        web.delete("/v2/dead/{entry}", door(dead.delete)),
    ]
    for base in (MODEL, VERSION):
        found += [
            web.get(base, door(models.metadata)),
            web.get(base + "/ready", door(models.model_ready)),
        ]
    allowed: dict[str, set[str]] = {}
    for route in found:
        allowed.setdefault(route.path, set()).add(route.method)
    found += [web.route("*", path, wrong_verb(verbs)) for path, verbs in allowed.items()]
    return [*found, web.route("*", "/{path:.*}", no_such_path)]


async def _life(app: web.Application, config: RouterConfig) -> AsyncIterator[None]:
    """The gateway runs while the app does."""
    gateway = Gateway(config)
    await gateway.start()
    app[DOORS] = gateway.doors()
    yield
    await gateway.stop()
