"""Listening: the aiohttp server around the app, and its orderly end.

On SIGTERM: not ready, refuse new requests, let waiting callers have their answers, then close.
"""

from __future__ import annotations

import asyncio
import logging
import signal

from aiohttp import web

from router.doors import DOORS
from router.protocol import Runner
from shared.config import RouterConfig

log = logging.getLogger(__name__)

BACKLOG = 1024
LONGEST_STOP_S = 10.0


async def serve(app: web.Application, config: RouterConfig) -> None:
    """Listen until told to stop. Errors of ours and OSError mean it could not start."""
    # A client that hangs up cancels its handler, which takes the request back.
    runner = Runner(
        app, access_log=None, handler_cancellation=True, shutdown_timeout=LONGEST_STOP_S
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, config.host, config.port, backlog=BACKLOG, reuse_port=None)
        await site.start()
        log.info("gateway listens on http://%s:%d", config.host, bound_port(runner))
        await _until_told()
        app[DOORS].dispatch.draining = True
    finally:
        await runner.cleanup()


def bound_port(runner: web.AppRunner) -> int:
    """The port really listened on (PORT=0 lets the system choose)."""
    return int(runner.addresses[0][1])


async def _until_told() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, stop.set)
    await stop.wait()
