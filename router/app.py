"""The wiring of the HTTP door: an aiohttp application around one gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web

from router.gateway import Gateway
from router.rest.cells import CELLS
from router.rest.context import CONTEXT
from router.rest.routes import routes
from shared.config import RouterConfig


def build_app(config: RouterConfig) -> web.Application:
    """The aiohttp application of one gateway."""
    app = web.Application(client_max_size=config.max_body_bytes)
    app.cleanup_ctx.append(lambda app: _life(app, config))
    app.add_routes(routes())
    return app


async def _life(app: web.Application, config: RouterConfig) -> AsyncIterator[None]:
    """Runs the gateway while the app runs."""
    gateway = Gateway(config)
    await gateway.start()
    cells = gateway.contexts()
    app[CELLS], app[CONTEXT] = cells, cells.first
    yield
    await gateway.stop()
