"""Waiting callers: futures by request id, resolved from this gateway's reply stream.

A waiter is registered before its request leaves. The stream may be trimmed: it is a shortcut, the
request's record is the truth for whatever is kept.
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from router.requests.read_size import ReadSize
from shared import failpoints, statuses
from shared.channel import Channel
from shared.connection import BLOCK_MS, redis_errors
from shared.constants import UNREAD
from shared.envelope import unpack_error
from shared.errors import Expired
from shared.keys import Keys

READ_COUNT = 256
REPLY_FIELDS = (b"id", b"status", b"worker", b"cold", b"outcome")
READ_BYTES = 4 << 20
EXPIRE_EVERY_S = 0.1


class Reply(NamedTuple):
    """The outcome of a request: status, the worker that ran it, whether it waited for a load, and
    the outcome or the error as it was packed."""

    status: str
    worker: str
    cold: bool
    outcome: bytes

    def raise_for_status(self) -> None:
        """Raise the error of a request that did not succeed."""
        if self.status != statuses.SUCCEEDED:
            error = unpack_error(self.outcome)
            error.worker = self.worker
            error.traced = True  # by the process that decided it
            raise error


class HandedOver(TimeoutError):
    """This gateway stops: the request goes on, and its caller polls another gateway for it.

    For a caller that waits a while and then polls, it is the end of that while.
    """


class Waiters:
    """Futures of one gateway, and the reader of its reply stream."""

    def __init__(self, channel: Channel, keys: Keys, gateway: str) -> None:
        self._channel = channel
        self._stream = keys.replies(gateway)
        self._unread = keys.replies(gateway + UNREAD)
        self._last = b"0-0"
        self._size = ReadSize(READ_COUNT)
        self._futures: dict[str, list[asyncio.Future[Reply]]] = {}
        self._read = self._read_bytes = 0
        self._until: dict[asyncio.Future[Any], float] = {}
        self._polls: set[asyncio.Future[Reply]] = set()

    def __len__(self) -> int:
        return len(self._futures)

    def register(self, request_id: str, *, poll: bool = False) -> asyncio.Future[Reply]:
        """A future for the outcome of `request_id`; `forget` it in the end. A stop of the gateway
        ends that of a `poll`."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._futures.setdefault(request_id, []).append(future)
        if poll:
            self._polls.add(future)
        return future

    def set_deadline(self, future: asyncio.Future[Any], until: float) -> None:
        """Have a future fail with Expired soon after `until`, by the event loop's clock.

        One loop checks all of them, as a timer for each would cost every request 3 us.
        """
        self._until[future] = until

    def clear_deadline(self, future: asyncio.Future[Any]) -> None:
        """Remove the deadline of a future."""
        self._until.pop(future, None)

    def forget(self, request_id: str, future: asyncio.Future[Reply]) -> None:
        """Stop waiting."""
        self._until.pop(future, None)
        self._polls.discard(future)
        futures = self._futures.get(request_id)
        if futures is None:
            return
        if future in futures:
            futures.remove(future)
        if not futures:
            del self._futures[request_id]

    async def expire_once(self) -> int:
        """Fail the futures whose deadline has passed; how many."""
        now = asyncio.get_running_loop().time()
        late = [future for future, until in self._until.items() if until <= now]
        for future in late:
            del self._until[future]
            if not future.done():
                future.set_exception(Expired("the deadline passed"))
        return len(late)

    def end_polls(self) -> int:
        """End the long polls: each returns the present state. How many."""
        return sum(fail(future, HandedOver()) for future in self._polls)

    async def run_once(self) -> int:
        """Read new replies and resolve their futures; the number of replies read."""
        with redis_errors():
            streams = await self._channel.execute_command(
                "XREAD", "COUNT", self._size.count(), "BLOCK", BLOCK_MS, "STREAMS", self._stream,
                self._last,
            )  # fmt: skip
        if not streams:
            return 0
        await failpoints.reach("replies.read")
        entries = streams[0][1]
        self._resolve_all(entries)
        self._read += len(entries)
        if self._read >= READ_COUNT or self._read_bytes >= READ_BYTES:
            await self._trim()
        return len(entries)

    async def read_rest(self, channel: Channel) -> None:
        """After `hand_over`: read the replies that are left, and resolve their futures. Over
        another channel: the last read of the reader may still block its own."""
        while True:
            count = self._size.count()
            with redis_errors():
                entries = await channel.execute_command(
                    "XRANGE", self._unread, b"(" + self._last, "+", "COUNT", count
                )
            if not entries:
                return
            self._resolve_all(entries)

    def _resolve_all(self, entries: list[tuple[bytes, list[bytes]]]) -> None:
        largest = 0
        for entry, fields in entries:
            self._last = entry
            self.resolve(fields)
            size = sum(map(len, fields))
            largest = max(largest, size)
            self._read_bytes += size
        self._size.note(largest)

    async def _trim(self) -> None:
        """Delete the replies that were read. Not after each read, as it delays the next one."""
        self._read = self._read_bytes = 0
        with redis_errors():
            await self._channel.execute_command("XTRIM", self._stream, "MINID", self._last)

    def resolve(self, fields: list[bytes]) -> None:
        """Resolve the futures of one reply: names and values as `publish.lua` writes them. Fields
        of a newer release are ignored; what is not a reply goes to no caller."""
        if tuple(fields[::2]) == REPLY_FIELDS:
            request_id, status, worker, cold, outcome = fields[1::2]
        else:
            given = {b"worker": b"", b"cold": b"0"}
            given |= dict(zip(fields[::2], fields[1::2], strict=False))
            if not {b"id", b"status", b"outcome"} <= given.keys():
                return
            request_id, status, worker, cold, outcome = (given[name] for name in REPLY_FIELDS)
        for future in self._futures.pop(request_id.decode(), ()):
            if not future.done():
                reply = Reply(status.decode(), worker.decode(), cold == b"1", outcome)
                future.set_result(reply)


def fail(future: asyncio.Future[Reply], error: Exception) -> bool:
    """End a wait with an error; False if it has ended already."""
    if future.done():
        return False
    future.set_exception(error)
    return True
