"""Connections: their number, the time clients may take, and aiohttp's own errors in our form.

By default aiohttp answers invalid HTTP with plain text that repeats the input, and logs a stack for
each, as it does for a body that cannot be decompressed. A client's mistake deserves neither. It
also waits for ever for the rest of a head or body, and for a client that does not read. Here one
loop checks all connections: a timer for each request would cost more than parsing it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.web_protocol import RequestHandler

from router.rest.error_responses import from_aiohttp, problem, raw_response
from shared import clock
from shared.errors import InvalidInput, TooSlow, Unavailable

log = logging.getLogger(__name__)

CHECK_EVERY_S = 0.5
SLOWEST_BYTES_S = 64 << 10  # a client that reads a response more slowly is disconnected
LOG_EVERY_S = 10.0
TOO_MANY = "too many connections to this gateway; retry later"
HEAD, BODY, ANSWER, NOTHING = "head", "body", "answer", ""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Limits for clients: seconds for a head, seconds for a body, connections."""

    header_s: float
    body_s: float
    connections: int


class Connection(RequestHandler):
    """One connection."""

    __slots__ = ("_awaited", "_heading", "_until")

    def __init__(self, manager: Server, **settings: Any) -> None:
        super().__init__(manager, **settings)
        self._heading = True  # bytes of a head have come, or must: it is a new connection
        self._awaited: tuple[str, int] = (
            NOTHING,
            0,
        )  # what the client must send or read, in which request
        self._until = float("inf")

    @property
    def busy(self) -> bool:
        """Whether a request is being received, handled or answered."""
        return self._request_in_progress or bool(self._messages)

    @property
    def receiving(self) -> bool:
        """Whether a part of a request has come, and not yet all of it."""
        return self._owed(0) in (HEAD, BODY)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve the connection, or refuse it if there are too many."""
        server = cast(Server, self._manager)
        if server.has_capacity():
            super().connection_made(transport)
            return
        self._manager, self._force_close = None, True
        stream = cast(asyncio.WriteTransport, transport)
        stream.write(raw_response(Unavailable(TOO_MANY, retry_after_s=1)))
        stream.close()

    def data_received(self, data: bytes) -> None:
        """Note whether a head is being received: the parser does not expose it."""
        super().data_received(data)
        waiter = self._waiter
        self._heading = waiter is not None and not waiter.done()

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Our form of responses that aiohttp gives by itself (for `*`, or an unknown Expect). A
        gateway that stops closes each connection after its next response."""
        if isinstance(resp, web.HTTPException):
            resp = from_aiohttp(request, resp)
        if self._manager is not None and cast(Server, self._manager).draining:
            resp.force_close()
        return super().finish_response(request, resp, start_time)

    def check_deadline(self, transport: asyncio.Transport, now: float, bounds: Bounds) -> None:
        """Close the connection if its client has exceeded the time for a head, body or response."""
        unsent = transport.get_write_buffer_size()
        awaited = (self._owed(unsent), self._request_count - len(self._messages))
        if awaited != self._awaited:
            self._awaited = awaited
            self._until = now + _allowed_s(awaited[0], unsent, bounds)
        elif now > self._until:
            self._end(transport, awaited[0], unsent)

    def _owed(self, unsent: int) -> str:
        if self._waiter is not None and self._heading:
            return HEAD
        request = self._current_request
        if request is not None and not request.content.is_eof():
            return BODY
        return ANSWER if unsent else NOTHING

    def _end(self, transport: asyncio.Transport, owed: str, unsent: int) -> None:
        """A client that reads gets the reason. (`close` would wait for one that does not.)"""
        if unsent or transport.is_closing():
            transport.abort()
            return
        transport.write(raw_response(TooSlow(f"{owed}: not sent in time")))
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """400 in the form of all our errors for invalid HTTP; aiohttp's own way for the rest."""
        if not isinstance(exc, HttpProcessingError) or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        what = "a line or header is too long" if isinstance(exc, LineTooLong) else "not valid HTTP"
        response = problem(InvalidInput(f"request: {what}"))
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log a stack, unless the client's body caused the error."""
        if not isinstance(kw.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **kw)


def _allowed_s(owed: str, unsent: int, bounds: Bounds) -> float:
    if owed == HEAD:
        return bounds.header_s
    if owed == BODY:
        return bounds.body_s
    return bounds.body_s + unsent / SLOWEST_BYTES_S if owed == ANSWER else float("inf")


class Server(web.Server):
    """Makes a `Connection` for each client, and checks them."""

    bounds: Bounds
    draining = False
    refused = 0
    _logged_at = float("-inf")

    def __call__(self) -> RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)

    def drain(self) -> None:
        """Close each connection after its next response."""
        self.draining = True

    async def wait_received(self, within_s: float) -> bool:
        """Wait until no request is on its way, for `within_s` seconds; False if one still is."""
        return await self._wait_until_none(lambda connection: connection.receiving, within_s)

    async def wait_idle(self, within_s: float) -> bool:
        """Wait until no request is under way, for `within_s` seconds; False if one still is."""
        return await self._wait_until_none(lambda connection: connection.busy, within_s)

    async def _wait_until_none(self, that: Callable[[Connection], bool], within_s: float) -> bool:
        ends = clock.monotonic() + within_s
        while any(that(cast(Connection, connection)) for connection in self._connections):
            if clock.monotonic() >= ends:
                return False
            await asyncio.sleep(0.02)
        return True

    def has_capacity(self) -> bool:
        """Whether one more connection is within the limit."""
        if len(self._connections) < self.bounds.connections:
            return True
        self.refused += 1
        return False

    async def check_once(self) -> int:
        """Check the deadline of every connection; how many there are."""
        now = clock.monotonic()
        for connection, transport in list(self._connections.items()):
            cast(Connection, connection).check_deadline(transport, now, self.bounds)
        if self.refused and now >= self._logged_at + LOG_EVERY_S:
            log.warning("%d connections refused: %d are open", self.refused, len(self._connections))
            self.refused, self._logged_at = 0, now
        return len(self._connections)


class Runner(web.AppRunner):
    """An AppRunner whose connections are ours. aiohttp has no setting for that."""

    def __init__(self, app: web.Application, bounds: Bounds, **settings: Any) -> None:
        super().__init__(app, **settings)
        self._bounds = bounds

    @property
    def connections(self) -> Server:
        """The server, after `setup`."""
        return cast(Server, self.server)

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = Server
        cast(Server, server).bounds = self._bounds
        return server
