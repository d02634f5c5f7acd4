"""A TCP proxy before a server: it counts, drops answers, cuts and falls silent when told."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit


class Proxy:
    """`async with Proxy.to(url) as proxy:` and connect to `proxy.url`."""

    def __init__(self, host: str, port: int, scheme: str) -> None:
        self._upstream = (host, port)
        self._scheme = scheme
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.drop_answers = False  # pass the next command on, then cut instead of answering
        self.silent = False  # keep connections, but pass nothing back
        self.accepted = 0

    @classmethod
    def to(cls, url: str) -> Proxy:
        """A proxy to the server at `url`."""
        parts = urlsplit(url)
        return cls(parts.hostname or "127.0.0.1", parts.port or 6379, parts.scheme)

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"{self._scheme}://127.0.0.1:{port}/0"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def cut(self) -> None:
        """Close every connection at once."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
        self._writers |= {writer, upstream_writer}
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
                    self.cut()
                    return
                if not (back and self.silent):
                    sink.write(data)
        sink.transport.abort()
