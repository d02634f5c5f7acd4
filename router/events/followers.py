"""Live events for many followers over one blocking read.

The reader keeps the newest events in memory; each follower reads them from its own position. One
that is further behind reads the missing events from Redis, so it delays no other and misses none.
Without followers nothing is read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile

from router.events.pages import EventPages, Page
from shared.channel import Channel
from shared.connection import BLOCK_MS, redis_errors
from shared.errors import Unavailable
from shared.events import START, Event, Position, decode, id_of, position_of
from shared.keys import Keys
from shared.redis_decode import pairs

MOST = 100  # followers of one gateway
KEPT = 1024  # events in memory
READ_COUNT = 256
COME_BACK_S = 5.0
END_S = 0.5  # to end a follower's response properly when the gateway stops


class Followers:
    """The followers of one gateway, and the reader they share."""

    def __init__(self, channel: Channel, keys: Keys, pages: EventPages) -> None:
        self._channel = channel
        self._stream = keys.events
        self._pages = pages
        self._count = 0
        self._joined = asyncio.Event()
        self._news = asyncio.Event()  # a new one after each read
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._start: Position | None = None  # all events behind it are in `_kept`
        self._last = START
        self.ended = False
        self._tasks: set[asyncio.Task[object]] = set()

    def __len__(self) -> int:
        return self._count

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Join the followers. Unavailable if there are too many, or the gateway stops."""
        if self.ended:
            raise Unavailable("this gateway is stopping; retry at another one", retry_after_s=1)
        if self._count >= MOST:
            raise Unavailable(
                f"events: this gateway has {MOST} followers, its limit; retry later",
                retry_after_s=COME_BACK_S,
            )
        self._count += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._joined.set()
        try:
            yield
        finally:
            self._tasks.discard(task)
            self._count -= 1
            if self._count == 0:
                self._joined.clear()

    def end(self) -> None:
        """Disconnect every follower, as the gateway stops; clients connect to another one."""
        self.ended = True
        self._notify()
        asyncio.get_running_loop().call_later(END_S, self._cut)

    def _cut(self) -> None:
        for task in self._tasks:  # a client that does not read must not delay the stop
            task.cancel()

    async def next(self, position: Position, within_s: float) -> Page:
        """The events behind `position`, as soon as there are some; none after `within_s` seconds,
        or at the end. Unavailable if missing events could not be read."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not self.ended:
                    news = self._news
                    page = await self._look(position)
                    if page.events:
                        return page
                    position = page.position
                    await news.wait()
        return Page([], position)

    async def _look(self, position: Position) -> Page:
        if self._start is None or position < self._start:
            seen = self._last if self._start is not None else position
            page = await self._pages.read(position)
            # Without events behind it, there are none up to the last one read by then.
            return page if page.events else page._replace(position=max(position, seen))
        newer = takewhile(lambda event: event.position > position, reversed(self._kept))
        events = list(newer)[::-1]
        return Page(events, events[-1].position if events else position)

    async def run_once(self) -> int:
        """Wait for a follower, then for events; the number of new events."""
        if self._count == 0:
            self._start = None
            self._kept.clear()
            await self._joined.wait()
        if self._start is None:
            self._start = self._last = await self._end()
            self._notify()  # a follower that read Redis before may have read less
        with redis_errors():
            streams = await self._channel.execute_command(
                "XREAD", "COUNT", READ_COUNT, "BLOCK", BLOCK_MS, "STREAMS", self._stream,
                id_of(self._last),
            )  # fmt: skip
        return self._take(streams[0][1]) if streams else 0

    async def _end(self) -> Position:
        """The position of the newest event; over the channel, as redis-py may swallow the
        cancellation that is to end this loop."""
        with redis_errors():
            rows = await self._channel.execute_command(
                "XREVRANGE", self._stream, "+", "-", "COUNT", 1
            )
        return position_of(rows[0][0].decode()) if rows else START

    def _take(self, entries: list[tuple[bytes, list[bytes]]]) -> int:
        for entry, flat in entries:
            if len(self._kept) == self._kept.maxlen:
                self._start = self._kept[0].position
            event = decode(entry, pairs(flat))
            self._kept.append(event)
            self._last = event.position
        self._notify()
        return len(entries)

    def _notify(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
