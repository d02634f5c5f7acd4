"""Events as a test writes them, and a client that follows them as a browser does."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from shared.events import Event, encode
from tests.helpers.cell import Cell
from tests.helpers.factories import REF
from tests.helpers.gateway import RunningGateway

STREAM = {"Accept": "text/event-stream"}
PATIENCE_S = 20.0


async def write(cell: Cell, *events: Event) -> list[str]:
    """Write events; their ids."""
    pipe = cell.client.pipeline(transaction=False)
    for event in events:
        flat = encode(event)
        pipe.xadd(cell.keys.events, dict(zip(flat[::2], flat[1::2], strict=True)))
    return [entry.decode() for entry in await pipe.execute()]


async def write_many(cell: Cell, count: int, first: int = 0, **changes: Any) -> list[str]:
    """Write `count` events, numbered by their bytes from `first` on; their ids."""
    usual = {"kind": "loaded", "ref": REF, "worker": "w1", **changes}
    return await write(cell, *(Event(**usual, bytes=first + n) for n in range(count)))


class Follower:
    """What has come. `last` is what a browser would send as Last-Event-ID."""

    def __init__(self, lines: aiohttp.StreamReader | asyncio.StreamReader) -> None:
        self._lines = lines
        self.last = ""
        self.comments = 0
        self.gaps = 0

    async def next(self) -> dict[str, Any] | None:
        """The next event; None when the gateway has ended the stream."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                block = await self._block()
                if block is None:
                    return None
                self.gaps += block.get("event") == "gap"
                if "data" in block and "event" not in block:
                    shown: dict[str, Any] = json.loads(block["data"])
                    assert shown["id"] == self.last
                    return shown

    async def take(self, count: int) -> list[dict[str, Any]]:
        """The next `count` events."""
        found = [await self.next() for _ in range(count)]
        return [event for event in found if event is not None]

    async def _block(self) -> dict[str, str] | None:
        block: dict[str, str] = {}
        while line := (await self._lines.readline()).decode():
            if line == "\n":
                self.last = block.get("id", self.last)
                return block
            name, _, value = line.rstrip("\n").partition(": ")
            self.comments += name == ""
            block[name] = value
        return None


@asynccontextmanager
async def following(
    gateway: RunningGateway, query: str = "", **headers: str
) -> AsyncIterator[Follower]:
    """Follow the events of a gateway, once it has taken the follower on."""
    async with gateway.http.get(f"/v2/events{query}", headers={**STREAM, **headers}) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "text/event-stream"
        yield await _begun(Follower(answer.content))


@asynccontextmanager
async def following_slowly(gateway: RunningGateway) -> AsyncIterator[Follower]:
    """Follow over sockets that hold little, and take in nothing but what is asked for."""
    with socket.socket() as small:
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
        small.setblocking(False)
        await asyncio.get_running_loop().sock_connect(small, ("127.0.0.1", gateway.port))
        reader, writer = await asyncio.open_connection(sock=small)
        try:
            writer.write(b"GET /v2/events HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n")
            assert b" 200 " in await reader.readline()
            while await reader.readline() != b"\r\n":
                pass
            yield await _begun(Follower(reader))
        finally:
            writer.close()
            await writer.wait_closed()


async def _begun(follower: Follower) -> Follower:
    while not follower.last:
        assert await follower._block() is not None
    return follower


def unsent(gateway: RunningGateway) -> int:
    """Bytes that the gateway has written and the system has not taken."""
    transports = gateway._runner.connections._connections.values()
    return sum(transport.get_write_buffer_size() for transport in transports)
