"""Listening: the aiohttp server around the app, and its orderly end.

On SIGTERM: not ready, no new connections, new requests refused. Callers who wait may have their
answers for a while; then they are told where to ask (handover.py). A second signal, or a stop that
takes too long, ends it at once: accepted requests are in Redis, and go on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal

from aiohttp import web

from router.rest.connection_limits import LOOK_EVERY_S, Bounds, Runner
from router.rest.context import CONTEXT
from router.rest.open_files import connections_allowed
from shared.config import RouterConfig
from shared.service import Loop, Supervisor

log = logging.getLogger(__name__)

BACKLOG = 1024
KEEPALIVE_S = 620.0  # load balancers keep connections for up to 600 s, and should close them first
LAST_BYTES_S = 2.0  # for answers that are written already
LONGEST_STOP_S = 10.0  # beyond the time that callers are given
CUT_SHORT = 1  # exit status


async def serve(app: web.Application, config: RouterConfig) -> None:
    """Listen until told to stop. Errors of ours and OSError mean it could not start."""
    runner = make_runner(app, config)
    await runner.setup()
    watch = Supervisor([Loop("connections", runner.connections.look_once, LOOK_EVERY_S)])
    try:
        site = web.TCPSite(runner, config.host, config.port, backlog=BACKLOG, reuse_port=None)
        await site.start()
        watch.start()
        log.info("gateway listens on %s", address(config.host, bound_port(runner)))
        await _until_told()
        _end_at_once_if_told_again(config.handover_s + LONGEST_STOP_S)
        await drain(app, runner, site, config.handover_s)
    finally:
        await watch.stop()
        await runner.cleanup()


def address(host: str, port: int) -> str:
    """The URL of a host and port; an IPv6 address stands in brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def make_runner(app: web.Application, config: RouterConfig) -> Runner:
    """What serves the app's connections."""
    bounds = Bounds(
        header_s=config.header_s,
        body_s=config.body_s,
        connections=connections_allowed(config.max_connections),
    )
    # A client that hangs up cancels its handler, which takes the request back.
    return Runner(
        app, bounds, access_log=None, handler_cancellation=True, shutdown_timeout=LAST_BYTES_S,
        keepalive_timeout=KEEPALIVE_S, auto_decompress=False,
    )  # fmt: skip


async def drain(
    app: web.Application, runner: Runner, site: web.BaseSite, handover_s: float
) -> None:
    """Take nothing new; answer callers, or after `handover_s` seconds tell them where to ask."""
    handover = app[CONTEXT].handover
    runner.connections.draining = True
    await handover.begin()
    await site.stop()
    await runner.connections.quiet(handover_s)
    await handover.finish()


def bound_port(runner: web.AppRunner) -> int:
    """The port really listened on (PORT=0 lets the system choose)."""
    return int(runner.addresses[0][1])


async def _until_told() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, stop.set)
    await stop.wait()


def _end_at_once_if_told_again(longest_s: float) -> None:
    """Also when the stop has not come to its end after `longest_s` seconds."""
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, _end_at_once, "told twice to stop")
    loop.call_later(longest_s, _end_at_once, "the stop took too long")


def _end_at_once(why: str) -> None:
    log.error("%s: callers who wait get no answer; accepted requests go on", why)
    os._exit(CUT_SHORT)
