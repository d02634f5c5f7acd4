"""Callers that wait: futures by request id, resolved from this gateway's reply stream.

A waiter is registered before its request leaves. The stream may be trimmed: it is a shortcut, the
request's record is the truth for whatever is kept.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from shared.channel import Channel
from shared.connection import BLOCK_MS, redis_errors
from shared.keys import Keys

READ_COUNT = 256


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

    def __len__(self) -> int:
        return len(self._futures)

    def register(self, request_id: str) -> asyncio.Future[Reply]:
        """A future for the outcome of `request_id`. `forget` it in the end."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._futures.setdefault(request_id, []).append(future)
        return future

    def forget(self, request_id: str, future: asyncio.Future[Reply]) -> None:
        """Stop waiting."""
        futures = self._futures.get(request_id)
        if futures is None:
            return
        if future in futures:
            futures.remove(future)
        if not futures:
            del self._futures[request_id]

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
        return len(entries)

    def _resolve(self, fields: list[bytes]) -> None:
        """Fields in the order in which `publish.lua` writes them."""
        _, request_id, _, status, _, worker, _, cold, _, outcome = fields
        for future in self._futures.pop(request_id.decode(), ()):
            if not future.done():
                reply = Reply(status.decode(), worker.decode(), cold == b"1", outcome)
                future.set_result(reply)
