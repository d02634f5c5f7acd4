"""What aiohttp says by itself, in our words, and how long it bears with a client.

By default it answers what is no HTTP with plain text that repeats what was sent, and writes a stack
to the log for each, as it does for a body that cannot be decompressed. A client's fault is neither.
It also waits for ever for the rest of a head or body, and for a client that does not read. Here one
loop looks at all connections: a timer for each request would cost more than the whole parsing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.web_protocol import RequestHandler

from router.rest.error_responses import in_our_words, last_words, problem
from shared import clock
from shared.errors import InvalidInput, TooSlow, Unavailable

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
SLOWEST_BYTES_S = 64 << 10  # a client that takes in an answer more slowly is cut off
LOG_EVERY_S = 10.0
HEAD, BODY, ANSWER, NOTHING = "head", "body", "answer", ""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What clients may take of a gateway: seconds for a head, seconds for a body, connections."""

    header_s: float
    body_s: float
    connections: int


class Protocol(RequestHandler):
    """One connection."""

    __slots__ = ("_awaited", "_heading", "_until")

    def __init__(self, manager: Server, **settings: Any) -> None:
        super().__init__(manager, **settings)
        self._heading = True  # bytes of a head have come, or have to: it is a new connection
        self._awaited: tuple[str, int] = (NOTHING, 0)  # what the client owes, in which request
        self._until = float("inf")

    @property
    def busy(self) -> bool:
        """Whether a request is being received, handled or answered."""
        return self._request_in_progress or bool(self._messages)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve it, or turn it away if there are too many."""
        server = cast(Server, self._manager)
        if server.admits():
            super().connection_made(transport)
            return
        self._manager, self._force_close = None, True
        stream = cast(asyncio.WriteTransport, transport)
        stream.write(last_words(Unavailable("too many connections", retry_after_s=1)))
        stream.close()

    def data_received(self, data: bytes) -> None:
        """Note whether a head is under way: the parser does not tell."""
        super().data_received(data)
        waiter = self._waiter
        self._heading = waiter is not None and not waiter.done()

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """In our words, also where aiohttp answers by itself (of `*`, or of an odd Expect). A
        gateway that stops answers each connection once more: the next is another gateway's."""
        if isinstance(resp, web.HTTPException):
            resp = in_our_words(request, resp)
        if self._manager is not None and cast(Server, self._manager).draining:
            resp.force_close()
        return super().finish_response(request, resp, start_time)

    def look(self, transport: asyncio.Transport, now: float, bounds: Bounds) -> None:
        """Close the connection if its client has taken too long over what it owes."""
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
        """A client that reads is told why. (`close` would wait for one that does not.)"""
        if unsent or transport.is_closing():
            transport.abort()
            return
        transport.write(last_words(TooSlow(f"{owed}: not sent in time")))
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """400 in the form of all our errors for what is no HTTP; aiohttp's own way for the rest."""
        if not isinstance(exc, HttpProcessingError) or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        what = "a line or header is too long" if isinstance(exc, LineTooLong) else "not valid HTTP"
        response = problem(InvalidInput(f"request: {what}"))
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Write a stack, unless the client's body is to blame."""
        if not isinstance(kw.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **kw)


def _allowed_s(owed: str, unsent: int, bounds: Bounds) -> float:
    if owed == HEAD:
        return bounds.header_s
    if owed == BODY:
        return bounds.body_s
    return bounds.body_s + unsent / SLOWEST_BYTES_S if owed == ANSWER else float("inf")


class Server(web.Server):
    """Makes a `Protocol` for each connection, and looks after them."""

    bounds: Bounds
    draining = False
    refused = 0
    _told = float("-inf")

    def __call__(self) -> RequestHandler:
        return Protocol(self, loop=self._loop, **self._kwargs)

    async def quiet(self, within_s: float) -> bool:
        """Wait until no request is under way, so long at most; whether it is so."""
        ends = clock.monotonic() + within_s
        while any(cast(Protocol, connection).busy for connection in self._connections):
            if clock.monotonic() >= ends:
                return False
            await asyncio.sleep(0.02)
        return True

    def admits(self) -> bool:
        """Whether there is room for one more connection."""
        if len(self._connections) < self.bounds.connections:
            return True
        self.refused += 1
        return False

    async def look_once(self) -> int:
        """Look at every connection; how many there are."""
        now = clock.monotonic()
        for connection, transport in list(self._connections.items()):
            cast(Protocol, connection).look(transport, now, self.bounds)
        if self.refused and now >= self._told + LOG_EVERY_S:
            log.warning("%d connections refused: %d are open", self.refused, len(self._connections))
            self.refused, self._told = 0, now
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
