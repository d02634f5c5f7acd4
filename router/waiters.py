"""Callers that wait: futures by request id, resolved from this gateway's reply stream.

A waiter is registered before its request leaves. The stream may be trimmed: it is a shortcut, the
request's record is the truth for whatever is kept.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from shared.channel import Channel
from shared.connection import BLOCK_MS, redis_errors
from shared.errors import Expired
from shared.keys import Keys

READ_COUNT = 256
READ_BYTES = 4 << 20
EXPIRE_EVERY_S = 0.1


class Reply(NamedTuple):
    """The outcome of a request: status, who ran it, whether it had to wait for a load."""

    status: str
    worker: str
    cold: bool
    outcome: bytes


class Waiters:
    """Futures of one gateway, and the reader of its reply stream."""

    def __init__(self, channel: Channel, keys: Keys, gateway: str) -> None:
        self._channel = channel
        self._stream = keys.replies(gateway)
        self._last: bytes | str = "0-0"
        self._futures: dict[str, list[asyncio.Future[Reply]]] = {}
        self._read = self._read_bytes = 0
        self._until: dict[asyncio.Future[Reply], float] = {}

    def __len__(self) -> int:
        return len(self._futures)

    def register(self, request_id: str, longest_s: float | None = None) -> asyncio.Future[Reply]:
        """A future for the outcome of `request_id`. `forget` it in the end.

        It fails with Expired soon after `longest_s`. One loop looks after all of them, as a timer
        for each would cost every request 3 us.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        self._futures.setdefault(request_id, []).append(future)
        if longest_s is not None:
            self._until[future] = loop.time() + longest_s
        return future

    def forget(self, request_id: str, future: asyncio.Future[Reply]) -> None:
        """Stop waiting."""
        self._until.pop(future, None)
        futures = self._futures.get(request_id)
        if futures is None:
            return
        if future in futures:
            futures.remove(future)
        if not futures:
            del self._futures[request_id]

    async def expire_once(self) -> int:
        """Fail the futures whose time is up; how many."""
        now = asyncio.get_running_loop().time()
        late = [future for future, until in self._until.items() if until <= now]
        for future in late:
            del self._until[future]
            if not future.done():
                future.set_exception(Expired("the deadline passed"))
        return len(late)

    async def run_once(self) -> int:
        """Read what has come and resolve its futures; the number of replies read."""
        with redis_errors():
            streams = await self._channel.execute_command(
                "XREAD", "COUNT", READ_COUNT, "BLOCK", BLOCK_MS, "STREAMS", self._stream, self._last
            )
        if not streams:
            return 0
        entries = streams[0][1]
        for entry, fields in entries:
            self._last = entry
            if len(fields) >= 10:
                self._resolve(fields)
                self._read_bytes += len(fields[9])
        self._read += len(entries)
        if self._read >= READ_COUNT or self._read_bytes >= READ_BYTES:
            await self._trim()
        return len(entries)

    async def _trim(self) -> None:
        """Drop what was read. Not each time, as it keeps the next read waiting."""
        self._read = self._read_bytes = 0
        with redis_errors():
            await self._channel.execute_command("XTRIM", self._stream, "MINID", self._last)

    def _resolve(self, fields: list[bytes]) -> None:
        """Fields in the order in which `publish.lua` writes them."""
        _, request_id, _, status, _, worker, _, cold, _, outcome = fields
        for future in self._futures.pop(request_id.decode(), ()):
            if not future.done():
                reply = Reply(status.decode(), worker.decode(), cold == b"1", outcome)
                future.set_result(reply)
