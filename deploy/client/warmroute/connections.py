"""Kept-alive connections: one httpx transport each, the last used first.

One transport with many connections looks at all of them twice for each request: with 100 that takes
24 ms of CPU per request, and this 1 ms.
"""

from __future__ import annotations

import asyncio
import queue
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx

from warmroute.errors import InvalidInput, TimedOut

KEEPALIVE_S = 60.0
IN_USE = "every connection is in use, raise `connections`"


class Connections:
    """At most `count` connections for threads; each is opened when it is first needed."""

    def __init__(self, base_url: str, count: int, own: httpx.BaseTransport | None) -> None:
        self._options = _options(base_url)
        self._own = own
        self._closed = False
        self._idle: queue.LifoQueue[httpx.BaseTransport | None] = queue.LifoQueue()
        for _ in range(_checked(count)):
            self._idle.put(None)

    @contextmanager
    def lease(self, within_s: float) -> Iterator[httpx.BaseTransport]:
        """A transport for the caller alone; TimedOut if none is free in time."""
        if self._own is not None:
            yield self._own
            return
        try:
            found = self._idle.get(timeout=within_s)
        except queue.Empty:
            raise TimedOut(IN_USE) from None
        transport = httpx.HTTPTransport(**self._options) if found is None else found
        try:
            yield transport
        finally:
            if self._closed:
                transport.close()
            self._idle.put(transport)

    def close(self) -> None:
        """Close the connections: idle ones now, the others when their call ends."""
        self._closed = True
        for transport in [self._own, *self._idle.queue]:
            if transport is not None:
                transport.close()


class AsyncConnections:
    """At most `count` connections for the tasks of one event loop."""

    def __init__(self, base_url: str, count: int, own: httpx.AsyncBaseTransport | None) -> None:
        self._options = _options(base_url)
        self._own = own
        self._closed = False
        self._idle: asyncio.LifoQueue[httpx.AsyncBaseTransport | None] = asyncio.LifoQueue()
        for _ in range(_checked(count)):
            self._idle.put_nowait(None)

    @asynccontextmanager
    async def lease(self, within_s: float | None) -> AsyncIterator[httpx.AsyncBaseTransport]:
        """A transport for the caller alone; TimedOut if none is free in time."""
        if self._own is not None:
            yield self._own
            return
        try:
            async with asyncio.timeout(within_s):
                transport = await self._idle.get()
        except TimeoutError:
            raise TimedOut(IN_USE) from None
        if transport is None:
            transport = httpx.AsyncHTTPTransport(**self._options)
        try:
            yield transport
        finally:
            self._idle.put_nowait(transport)
            if self._closed:
                await transport.aclose()

    async def close(self) -> None:
        """Close the connections: idle ones now, the others when their call ends."""
        self._closed = True
        idle = [self._own]
        while not self._idle.empty():
            idle.append(self._idle.get_nowait())
        for transport in idle[1:]:
            self._idle.put_nowait(transport)
        for transport in idle:
            if transport is not None:
                await transport.aclose()


def _checked(count: int) -> int:
    if not isinstance(count, int) or count < 1:
        raise InvalidInput(f"connections: {count!r}, want a whole number from 1")
    return count


def _options(base_url: str) -> dict[str, Any]:
    tls = base_url[:6].lower() == "https:"
    # Reading the certificates takes 20 ms, which a plain connection does not need.
    context = ssl.create_default_context() if tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    limits = httpx.Limits(
        max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEPALIVE_S
    )
    return {"verify": context, "limits": limits}
