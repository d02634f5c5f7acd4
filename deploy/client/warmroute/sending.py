"""Sends one call over httpx, blocking or with asyncio, and turns its errors into ours.

httpx's transports are used without its client: redirects, cookies, authentication and proxies from
the environment do not belong here, and take half of the time of a small call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache

import httpx

from warmroute.call import Send, server_error
from warmroute.connections import AsyncConnections, Connections
from warmroute.errors import InvalidInput, TimedOut
from warmroute.failures import translated
from warmroute.response import Response

USER_AGENT = b"warmroute-client"


class _Requests:
    """Makes httpx requests from calls. Parsed addresses are kept: they cost more than the rest."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._url = lru_cache(maxsize=1024)(self._parse)

    def make(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None,
        timeouts: dict[str, float],
    ) -> httpx.Request:  # fmt: skip
        """A request whose headers are complete; InvalidInput if HTTP cannot express one."""
        try:
            url = self._url(path)
            raw = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
        except (ValueError, TypeError, httpx.InvalidURL) as error:
            raise InvalidInput(f"{method} {path}: cannot be sent: {error}") from error
        raw += [(b"Host", url.netloc), (b"User-Agent", USER_AGENT)]
        if body is not None:
            raw.append((b"Content-Length", b"%d" % len(body)))
        stream = httpx.ByteStream(body or b"")
        extensions = {"timeout": timeouts}
        return httpx.Request(method, url, headers=raw, stream=stream, extensions=extensions)

    def of(self, send: Send) -> httpx.Request:
        """The request of one step of a flow."""
        call, left = send.call, send.timeout_s
        timeouts = {"connect": left, "read": left, "write": left, "pool": left}
        return self.make(call.method, call.path, call.headers, call.body, timeouts)

    def _parse(self, path: str) -> httpx.URL:
        return httpx.URL(self.base_url + path)


class Sender:
    """Blocking calls over kept-alive connections. Threads may share one."""

    def __init__(
        self, base_url: str, connections: int, transport: httpx.BaseTransport | None
    ) -> None:
        self._requests = _Requests(base_url)
        self._connections = Connections(base_url, connections, transport)

    def close(self) -> None:
        """Close the kept connections."""
        self._connections.close()

    def send(self, send: Send) -> Response:
        """The response, whatever its status; an error of the tree if there is none in time."""
        request, ends = self._requests.of(send), time.monotonic() + send.timeout_s
        with self._open(request, send.timeout_s) as response:
            assert isinstance(response.stream, httpx.SyncByteStream)
            chunks = []
            for chunk in response.stream:
                chunks.append(chunk)
                _check_time(request, ends)
        return Response(response.status_code, response.headers, b"".join(chunks))

    @contextmanager
    def stream(
        self, path: str, headers: Mapping[str, str], timeouts: dict[str, float]
    ) -> Iterator[tuple[Response, Iterator[bytes]]]:
        """A GET whose body has no end: its head, and the chunks as they come."""
        request = self._requests.make("GET", path, headers, None, timeouts)
        with self._open(request, timeouts["pool"]) as response:
            assert isinstance(response.stream, httpx.SyncByteStream)
            body = b"".join(response.stream) if response.status_code >= 400 else b""
            head = Response(response.status_code, response.headers, body)
            yield _checked(head), iter(response.stream)

    @contextmanager
    def _open(self, request: httpx.Request, within_s: float) -> Iterator[httpx.Response]:
        try:
            with self._connections.lease(within_s) as transport:
                response = transport.handle_request(request)
                try:
                    yield response
                finally:
                    response.close()
        except httpx.HTTPError as error:
            raise translated(error, request, self._requests.base_url) from error


class AsyncSender:
    """The same with asyncio. It belongs to the event loop that first used it."""

    def __init__(
        self, base_url: str, connections: int, transport: httpx.AsyncBaseTransport | None
    ) -> None:
        self._requests = _Requests(base_url)
        self._connections = AsyncConnections(base_url, connections, transport)

    async def close(self) -> None:
        """Close the kept connections."""
        await self._connections.close()

    async def send(self, send: Send) -> Response:
        """The response, whatever its status; an error of the tree if there is none in time."""
        request = self._requests.of(send)
        try:
            async with asyncio.timeout(send.timeout_s), self._open(request, None) as response:
                assert isinstance(response.stream, httpx.AsyncByteStream)
                chunks = [chunk async for chunk in response.stream]
        except TimeoutError as error:
            raise translated(error, request, self._requests.base_url) from error
        return Response(response.status_code, response.headers, b"".join(chunks))

    @asynccontextmanager
    async def stream(
        self, path: str, headers: Mapping[str, str], timeouts: dict[str, float]
    ) -> AsyncIterator[tuple[Response, AsyncIterator[bytes]]]:
        """A GET whose body has no end: its head, and the chunks as they come."""
        request = self._requests.make("GET", path, headers, None, timeouts)
        async with self._open(request, timeouts["pool"]) as response:
            assert isinstance(response.stream, httpx.AsyncByteStream)
            failed = response.status_code >= 400
            body = b"".join([chunk async for chunk in response.stream]) if failed else b""
            head = Response(response.status_code, response.headers, body)
            yield _checked(head), aiter(response.stream)

    @asynccontextmanager
    async def _open(
        self, request: httpx.Request, within_s: float | None
    ) -> AsyncIterator[httpx.Response]:
        try:
            async with self._connections.lease(within_s) as transport:
                response = await transport.handle_async_request(request)
                try:
                    yield response
                finally:
                    await response.aclose()
        except httpx.HTTPError as error:
            raise translated(error, request, self._requests.base_url) from error


def _check_time(request: httpx.Request, ends: float) -> None:
    if time.monotonic() > ends:
        raise TimedOut(
            f"{request.method} {request.url.raw_path.decode()}: the response is too slow"
        )


def _checked(head: Response) -> Response:
    if head.status >= 400:
        raise server_error(head)
    return head
