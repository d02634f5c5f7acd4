"""Listening: the aiohttp server around the app, and its orderly end.

On SIGTERM: not ready, and as long as its load balancers need to notice that, everything else goes
on; only connections are closed after their next response. Then no new connections; requests that
are on their way are taken, later ones refused. Waiting callers get their answers for a while; then
202 with where to poll (hand_over.py). A second signal, or a stop that takes too long, ends the
process at once: accepted requests are in Redis, and go on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
from typing import cast

from aiohttp import web

from router.rest.connection_limits import CHECK_EVERY_S, Bounds, Runner
from router.rest.context import CONTEXT
from shared import clock
from shared.config import RouterConfig
from shared.service import Loop, Supervisor

log = logging.getLogger(__name__)

BACKLOG = 1024
KEEPALIVE_S = 620.0  # load balancers keep connections for up to 600 s, and should close them first
LAST_BYTES_S = 2.0  # for responses that are being sent
PLACED_S = 0.05  # from the last byte of a request to its place in a queue
LONGEST_STOP_S = 10.0  # beyond the time that waiting callers get
CUT_SHORT = 1  # exit status
RESERVED_FILES = 48  # for Redis, the repository, logs, shared memory


async def serve(app: web.Application, config: RouterConfig) -> None:
    """Listen until SIGTERM or SIGINT. WarmrouteError and OSError mean that it could not start."""
    runner = make_runner(app, config)
    await runner.setup()
    supervisor = Supervisor([Loop("connections", runner.connections.check_once, CHECK_EVERY_S)])
    try:
        # aiohttp passes the addresses on to asyncio, which takes a list as well as one.
        host = cast(str, listened(config.host))
        site = web.TCPSite(runner, host, config.port, backlog=BACKLOG, reuse_port=None)
        await site.start()
        supervisor.start()
        log.info("gateway listens on %s", address(config.host, bound_port(runner)))
        await _until_signalled()
        _end_at_once_on_second_signal(config.drain_delay_s + config.handover_s + LONGEST_STOP_S)
        await drain(app, runner, site, config.handover_s, config.drain_delay_s)
    finally:
        await supervisor.stop()
        await runner.cleanup()


def listened(host: str) -> str | list[str] | None:
    """What to listen on: every address of a name, or all of the machine (None). `::` is both
    families, as with other servers; brackets are of URLs."""
    host = host.strip().removeprefix("[").removesuffix("]")
    if host in ("", "*"):
        return None
    return ["::", "0.0.0.0"] if host == "::" else host


def address(host: str, port: int) -> str:
    """A URL that can be called from this machine; an IPv6 address is in brackets."""
    host = host.strip().removeprefix("[").removesuffix("]")
    host = "127.0.0.1" if host in ("", "*", "::", "0.0.0.0") else host
    if ":" not in host:
        return f"http://{host}:{port}"
    return f"http://[{host.replace('%', '%25')}]:{port}"


def make_runner(app: web.Application, config: RouterConfig) -> Runner:
    """The runner that serves the app's connections."""
    bounds = Bounds(
        header_s=config.header_s,
        body_s=config.body_s,
        connections=connections_allowed(config.max_connections),
    )
    # A client that hangs up cancels its handler, which cancels the request.
    return Runner(
        app, bounds, access_log=None, handler_cancellation=True, shutdown_timeout=LAST_BYTES_S,
        keepalive_timeout=KEEPALIVE_S, auto_decompress=False,
    )  # fmt: skip


async def drain(
    app: web.Application, runner: Runner, site: web.BaseSite, handover_s: float,
    delay_s: float = 0.0,
) -> None:  # fmt: skip
    """Not ready for up to `delay_s` seconds, until load balancers have noticed; then accept nothing
    new but what is on its way. Answer waiting callers, or after `handover_s` seconds hand them
    over."""
    context = app[CONTEXT]
    handover = context.handover
    needed_s = context.health.stop(delay_s)
    runner.connections.drain()
    if needed_s:
        log.info("not ready; stops in %.1f s, when load balancers have noticed", needed_s)
        await asyncio.sleep(needed_s)
    await site.stop()
    ends = clock.monotonic() + handover_s
    if await runner.connections.wait_received(handover_s):
        await asyncio.sleep(PLACED_S)
    await handover.begin()
    await runner.connections.wait_idle(ends - clock.monotonic())
    await handover.finish()


def bound_port(runner: web.AppRunner) -> int:
    """The port in use (PORT=0 lets the system choose)."""
    return int(runner.addresses[0][1])


async def _until_signalled() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, stop.set)
    await stop.wait()


def _end_at_once_on_second_signal(longest_s: float) -> None:
    """Also when the stop takes longer than `longest_s` seconds."""
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, _end_at_once, "a second signal")
    loop.call_later(longest_s, _end_at_once, "the stop took too long")


def _end_at_once(why: str) -> None:
    log.error("%s: waiting callers get no answer; accepted requests go on", why)
    os._exit(CUT_SHORT)


def raise_limit(connections: int) -> None:
    """Raise the limit of open files of this process to what so many connections need, if the
    system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + RESERVED_FILES
    most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def connections_allowed(connections: int) -> int:
    """`connections`, or as many as the limit of open files allows; at least 1. Some files
    are reserved: without one a gateway can neither answer a client nor reach Redis."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= connections + RESERVED_FILES:
        return connections
    allowed = max(1, soft - RESERVED_FILES)
    log.warning("%d connections at most: the limit of open files is %d", allowed, soft)
    return allowed
