"""A TCP proxy before a server: it counts, delays, drops answers, cuts and falls silent if told."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from urllib.parse import urlsplit


class Proxy:
    """`async with Proxy.to(url) as proxy:` and connect to `proxy.url`.

    What is written by the client goes to the server; `back` means the other way.
    """

    def __init__(self, host: str, port: int, scheme: str) -> None:
        self._upstream = (host, port)
        self._scheme = scheme
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.drop_answers = False  # pass the next command on, then cut instead of answering
        self.silent = False  # keep connections, but pass nothing back
        self.black_hole = False  # pass nothing on: what is sent meanwhile is lost
        self.black_hole_back = False  # the same for answers
        self.refusing = False  # close new connections at once
        self.latency_s = 0.0  # before each piece, in both directions
        self.jitter_s = 0.0  # up to so much more, or less
        self.bytes_per_s: float | None = None  # in each direction
        self.dice = random.Random(0)
        self.hold = False  # keep what comes back until `release`
        self._held: list[tuple[asyncio.StreamWriter, bytes]] = []
        self.accepted = 0
        self.lost = 0  # bytes that fell into a black hole
        self.passed = 0

    @classmethod
    def to(cls, url: str) -> Proxy:
        """A proxy to the server at `url`."""
        return cls(*_address(url), urlsplit(url).scheme)

    async def __aenter__(self) -> Proxy:
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"{self._scheme}://127.0.0.1:{port}/0"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._server.close()
        self._cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def cut(self) -> None:
        """Close every connection at once. Any thread may call this."""
        if threading.get_ident() == self._thread:
            self._cut()
        else:
            self._loop.call_soon_threadsafe(self._cut)

    def lead_to(self, url: str, *, cut: bool = True) -> None:
        """Send new connections to another server; the old ones are cut, or stay where they are."""
        self._upstream = _address(url)
        if cut:
            self.cut()

    def swallow(self, yes: bool = True) -> None:
        """A black hole in both directions, also for new connections; or its end."""
        self.black_hole = self.black_hole_back = yes

    def _cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    def release(self) -> None:
        """Pass on what was held, and hold nothing more."""
        self.hold = False
        held, self._held = self._held, []
        for sink, data in held:
            sink.write(data)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._writers.add(writer)
        try:
            if self.refusing:
                raise ConnectionRefusedError
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
        except OSError:  # nobody listens there: as if one had asked there
            writer.transport.abort()
            return
        self._writers.add(upstream_writer)
        for source, sink, back in (
            (reader, upstream_writer, False), (upstream_reader, writer, True),
        ):  # fmt: skip
            task = asyncio.create_task(self._pump(source, sink, back))
            self._tasks.add(task)

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, back: bool
    ) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                if back and self.drop_answers:
                    self.drop_answers = False
                    self._cut()
                    return
                await self._delay(len(data))
                if self.black_hole_back if back else self.black_hole:
                    self.lost += len(data)
                elif back and self.hold:
                    self._held.append((sink, data))
                elif not (back and self.silent):
                    self.passed += len(data)
                    sink.write(data)
        sink.transport.abort()
        self._writers.discard(sink)

    async def _delay(self, size: int) -> None:
        wait_s = self.latency_s + self.dice.uniform(-self.jitter_s, self.jitter_s)
        if self.bytes_per_s is not None:
            wait_s += size / self.bytes_per_s
        if wait_s > 0:
            await asyncio.sleep(wait_s)


@contextmanager
def proxy_in_thread(url: str) -> Iterator[Proxy]:
    """A proxy for tests without an event loop. Its switches may be set from any thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    proxy = Proxy.to(url)
    asyncio.run_coroutine_threadsafe(proxy.__aenter__(), loop).result()
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(proxy.__aexit__(None, None, None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "127.0.0.1", parts.port or 6379
