"""What aiohttp says by itself, in our words: requests that are no HTTP never reach a handler.

By default it answers them with plain text that repeats what was sent, and writes a stack to the log
for each, as it does for a body that cannot be decompressed. A client's fault is neither.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.web_protocol import RequestHandler

from router.problems import problem
from shared.errors import InvalidInput


class Protocol(RequestHandler):
    """One connection."""

    __slots__ = ()

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


class Server(web.Server):
    """Makes a `Protocol` for each connection."""

    def __call__(self) -> RequestHandler:
        return Protocol(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """An AppRunner whose connections are ours. aiohttp has no setting for that."""

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = Server
        return server
