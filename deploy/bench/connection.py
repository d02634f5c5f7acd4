"""One kept-alive HTTP/1.1 connection of the load generator, with one request under way.

It shares the cores with what it measures, so it writes prepared bytes, reads no more of an answer
than its status line and length, and keeps only a sample of the bodies.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from deploy.bench.measure import BenchError

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_OK = b"HTTP/1.1 200 "
_MOST_SHOWN = 300


class Answer(NamedTuple):
    """A response that was kept: to which post of the list, its head, its body."""

    post: int
    head: bytes
    body: bytes


class Done(NamedTuple):
    """When an answer was complete (clock of time.perf_counter) and how long it took. Seconds."""

    at: float
    took: float


# The number of the post to send next, or None for no more. Called once per connection and answer.
Feed = Callable[[], int | None]


@dataclass
class Run:
    """What the connections of one load share."""

    posts: list[bytes]
    feed: Feed
    keep_every: int
    done: list[Done] = field(default_factory=list)
    kept: list[Answer] = field(default_factory=list)


class Connection(asyncio.Protocol):
    """Sends what the run's feed says, one post after the other; `ended` has the result."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._post = 0
        self._started = 0.0
        self._head = b""
        self._left = -1  # bytes of the body that are still to come; -1 in the head
        self._body: list[bytes] | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def send(self) -> None:
        """Send the next post, or close."""
        post = self._run.feed()
        if post is None:
            self._end(None)
            return
        self._post, self._head, self._left, self._body = post, b"", -1, None
        self._started = time.perf_counter()
        self._transport.write(self._run.posts[post])

    def close(self) -> None:
        """Hang up, whatever is under way."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._left < 0:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            data = self._head[end + 4 :]
            self._head = self._head[: end + 2]
            self._begin_body()
        self._left -= len(data)
        if self._body is not None:
            self._body.append(data)
        if self._left <= 0:
            self._answered()

    def connection_lost(self, error: Exception | None) -> None:
        self._end(BenchError(f"connection lost before its answer came: {error}"))

    def _begin_body(self) -> None:
        length = _LENGTH.search(self._head)
        self._left = int(length[1]) if length else 0
        keep = len(self._run.done) % self._run.keep_every == 0
        if keep or not self._head.startswith(_OK):
            self._body = []

    def _answered(self) -> None:
        now = time.perf_counter()
        body = b"".join(self._body or ())
        if self._left < 0 or not self._head.startswith(_OK):
            text = (self._head.partition(b"\r\n")[0] + b" " + body)[:_MOST_SHOWN]
            self._end(BenchError(f"post {self._post}: {text.decode(errors='replace')}"))
            return
        self._run.done.append(Done(now, now - self._started))
        if self._body is not None:
            self._run.kept.append(Answer(self._post, self._head, body))
        self.send()

    def _end(self, error: BenchError | None) -> None:
        if self.ended.done():
            return
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)
        self.close()
