"""A simulated gateway process: the real gateway and its endpoints, without sockets."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from aiohttp import web
from aiohttp.http import HttpVersion11, RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from router.app import _life
from router.rest.routes import routes
from router.rest.server import drain as drain_gateway
from shared import config as settings
from shared.config import RouterConfig
from shared.errors import WarmrouteError
from tests.simulation.kinds import BUDGET
from tests.simulation.loop import SimTask
from tests.simulation.world import CELL, LEASE_S, World

MAX_QUEUE, MAX_PARKED, MAX_PENDING = 6, 6, 60
ENV = {
    "REDIS_URL": "redis://sim",
    "MODEL_REPOSITORY": "file:///sim",
    "WARMROUTE_CELL": CELL,
    "WARMROUTE_LEASE_S": str(LEASE_S),
    "WARMROUTE_SHARED_MEMORY": "off",
    "WARMROUTE_MEMORY_BYTES": str(BUDGET),
    "WARMROUTE_PREFETCH": "4",
    "WARMROUTE_UNLOADABLE_S": "2",
    "WARMROUTE_DRAIN_S": "6",
    "WARMROUTE_HANDOVER_S": "1",
    "WARMROUTE_MAX_QUEUE": str(MAX_QUEUE),
    "WARMROUTE_MAX_PARKED": str(MAX_PARKED),
    "WARMROUTE_MAX_PENDING": str(MAX_PENDING),
    "WARMROUTE_TIMEOUT_S": "8",
    "WARMROUTE_CATALOG_TTL_S": "1",
}


class Body:
    """A body that is there as a whole."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    async def readany(self) -> bytes:
        raw, self._raw = self._raw, b""
        return raw

    def at_eof(self) -> bool:
        return not self._raw


class Answer:
    """An HTTP response."""

    def __init__(self, response: web.Response) -> None:
        self.status = response.status
        self.headers = CIMultiDict(response.headers)
        body = response.body
        self.body = bytes(body) if isinstance(body, bytes | bytearray) else b""


class SimGateway:
    """One gateway process. `ready` once it serves, until it is told to stop."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.process = world.new_process(name)
        self.ready = False
        self.busy = 0  # what `drain` asks of the open connections
        self.connections = self
        self._app = web.Application()
        self.process.ended.append(self._ended)
        self.process.start(self._main())

    def _ended(self) -> None:
        self.ready = False

    async def _main(self) -> None:
        config = settings.read(RouterConfig, ENV)
        self._app.add_routes(routes())
        life = _life(self._app, config)
        try:
            await anext(life)
        except WarmrouteError as error:
            self.world.trace.note(self.process, "cannot start:", error.message)
            self.process.exit(2)
            return
        told = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
        self.ready = True
        await told.wait()
        site: Any = self
        await drain_gateway(self._app, site, site, config.handover_s)
        await anext(life, None)
        self.process.exit(0)

    async def stop(self) -> None:
        """As `drain` asks the listening socket to."""
        self.ready = False

    def drain(self) -> None:
        """As `drain` tells the open connections."""

    async def wait_received(self, within_s: float) -> bool:
        """As `drain` asks the open connections. Requests come in one piece here."""
        return True

    async def wait_idle(self, within_s: float) -> bool:
        """As `drain` asks the open connections."""
        ends = self.world.loop.now + within_s
        while self.busy and self.world.loop.now < ends:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return not self.busy

    def serve(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> SimTask:
        """Handle a request in this process; the task may be cancelled, as by a hang-up."""
        return self.process.start(self._handle(method, path, body, CIMultiDict(headers)))

    async def _handle(self, method: str, path: str, body: bytes, headers: Any) -> Answer:
        self.busy += 1
        try:
            request = self._request(method, path, body, headers)
            match = await self._app.router.resolve(request)
            match.add_app(self._app)
            request._match_info = match
            return Answer(await match.handler(request))  # type: ignore[arg-type]
        finally:
            self.busy -= 1

    def _request(self, method: str, path: str, body: bytes, headers: Any) -> web.Request:
        """As aiohttp's parser would have made it."""
        headers["Content-Length"] = str(len(body))
        raw = tuple((name.encode(), value.encode()) for name, value in headers.items())
        message = RawRequestMessage(
            method, path, HttpVersion11, CIMultiDictProxy(headers), raw, False, None, False, False,
            URL(path),
        )  # fmt: skip
        nobody: Any = SimpleNamespace(
            transport=None, ssl_context=None, peername=None, sockname=None
        )
        content: Any = Body(body)
        request = web.Request(message, content, nobody, nobody, nobody, self.world.loop)
        request._read_bytes = body
        return request
