"""Network links that can be cut: proxies on a thread of their own, one per process and server.

While a link is down every connection on it is reset and every new one is refused, as if the
other host were gone. A link that is dark takes bytes and passes nothing on, as a cut cable does.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from threading import Thread

from tests.helpers.proxy import Proxy


class Link(Proxy):
    """A proxy to one server. Its methods may be called from any thread; counters only grow."""

    answer = b""  # to every request on a new connection, instead of the server's
    severed = 0  # connections that were open when the link went down
    refused = 0  # connections that were tried while it was down

    @property
    def address(self) -> str:
        """Its URL without a path: what a process is told instead of the server's own."""
        return self.url.removesuffix("/0")

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @property
    def open(self) -> int:
        """Connections that are up."""
        return sum(not writer.is_closing() for writer in set(self._writers)) // 2

    def go_down(self) -> None:
        """Reset what is open, refuse what is new."""
        self.refusing = True
        self.severed += self.open
        self.cut()

    def go_dark(self) -> None:
        """Swallow everything from now on, both ways."""
        self.swallow()

    def slow_down(self, latency_s: float) -> None:
        """Delay everything, both ways, by half to three halves of that."""
        self.latency_s, self.jitter_s = latency_s, latency_s / 2

    def mend(self) -> None:
        """Up again. What was swallowed is lost, so connections from before it cannot go on."""
        if self.black_hole:
            self.cut()
        self.swallow(False)
        self.refusing = False
        self.latency_s = self.jitter_s = 0.0

    def answer_all(self, answer: bytes) -> None:
        """Answer every request so from now on, without asking the server; b'': no more."""
        self.answer = answer
        self.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.refused += self.refusing
        if self.answer:
            with suppress(OSError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                self.refused += 1
                writer.write(self.answer)
                await writer.drain()
            writer.close()
            return
        await super()._serve(reader, writer)


class Links:
    """Makes links, all on one thread. Close it in the end."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="links", daemon=True)
        self._thread.start()
        self._links: list[Link] = []

    def to(self, url: str) -> Link:
        """A new link to the server at `url`."""
        link = Link.to(url)
        assert isinstance(link, Link)
        asyncio.run_coroutine_threadsafe(link.__aenter__(), self._loop).result(10)
        self._links.append(link)
        return link

    def close(self) -> None:
        """Cut everything and end the thread."""
        for link in self._links:
            ended = link.__aexit__(None, None, None)
            asyncio.run_coroutine_threadsafe(ended, self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
