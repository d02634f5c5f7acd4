"""Following the event log as server-sent events, across gateways that stop and start."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import urlencode

from warmroute.errors import BadResponse, ClientError, ConnectionFailed, Overloaded, TimedOut
from warmroute.operations import GAP, Query
from warmroute.response import Document, Response, as_object, parse_json, shown
from warmroute.sending import AsyncSender, Sender

SILENT_S = 45.0  # a gateway sends something every 15 seconds
PAUSE_S = 0.5
PATIENCE_S = 30.0  # how long no gateway may answer before following ends with an error
STREAM = "text/event-stream"
INTERRUPTED = (ConnectionFailed, Overloaded, TimedOut)

Retrying = Callable[[ClientError], None]


class Following:
    """What a follower remembers: the last event, and for how long no gateway has answered."""

    def __init__(
        self, filters: Query, since: str | None, retrying: Retrying, connect_s: float
    ) -> None:
        query = filters if since is None else [*filters, ("since", since)]
        self.path = "/v2/events" + (f"?{urlencode(query)}" if query else "")
        self.headers = {"Accept": STREAM}
        self.timeouts = {
            "connect": connect_s, "pool": connect_s, "write": connect_s, "read": SILENT_S,
        }  # fmt: skip
        self._retrying = retrying
        self.answered()

    def answered(self) -> None:
        """A gateway sends, or following begins: from now on one may be away for a while."""
        self._reported, self._gives_up = False, time.monotonic() + PATIENCE_S

    def events(self, block: dict[str, str]) -> list[Document]:
        """The event of a block, none for a comment."""
        self.answered()
        if "id" in block:
            self.headers["Last-Event-ID"] = block["id"]
        if "data" not in block:
            return []
        if "event" in block:
            return [GAP]
        return [as_object(parse_json(block["data"].encode(), "event data"), "event data")]

    def failed(self, error: ClientError) -> None:
        """Raises the error again once no gateway has answered for too long."""
        if time.monotonic() >= self._gives_up:
            raise error
        if not self._reported:
            self._retrying(error)
        self._reported = True


def follow(sender: Sender, following: Following) -> Iterator[Document]:
    """Events, without an end."""
    following.answered()
    while True:
        try:
            with sender.stream(following.path, following.headers, following.timeouts) as opened:
                head, chunks = opened
                blocks = Blocks(head)
                for chunk in chunks:
                    for block in blocks.feed(chunk):
                        yield from following.events(block)
        except INTERRUPTED as error:
            following.failed(error)
        time.sleep(PAUSE_S)


async def follow_async(sender: AsyncSender, following: Following) -> AsyncIterator[Document]:
    """Events, without an end."""
    following.answered()
    while True:
        try:
            opening = sender.stream(following.path, following.headers, following.timeouts)
            async with opening as (head, chunks):
                blocks = Blocks(head)
                async for chunk in chunks:
                    for block in blocks.feed(chunk):
                        for event in following.events(block):
                            yield event
        except INTERRUPTED as error:
            following.failed(error)
        await asyncio.sleep(PAUSE_S)


class Blocks:
    """Cuts chunks of a stream into server-sent events: the fields of each.

    A comment is the field ''. An event that is cut off is left out: it comes again.
    """

    def __init__(self, head: Response) -> None:
        kind = head.headers.get("Content-Type", "")
        if not kind.startswith(STREAM):
            raise BadResponse("Content-Type header", shown(kind), STREAM)
        self._rest = b""
        self._block: dict[str, str] = {}

    def feed(self, chunk: bytes) -> Iterator[dict[str, str]]:
        """The events that are complete with this chunk."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            text = _decoded(line)
            if text:
                name, _, value = text.partition(":")
                self._block[name] = value.removeprefix(" ")
            else:
                block, self._block = self._block, {}
                yield block


def _decoded(line: bytes) -> str:
    try:
        return line.decode().rstrip("\r")
    except UnicodeDecodeError as error:
        raise BadResponse("event", f"byte {error.start} is not UTF-8", "text") from None


def ignore(error: Any) -> None:
    """The usual `retrying`: says nothing."""
