"""Live events for many followers over one blocking read.

The reader keeps the newest events in memory; each follower looks there, from its own position. One
that is further behind reads from Redis what it lacks, so it holds up nobody and misses nothing.
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
LAST_WORDS_S = 0.5  # to end a follower's answer properly when the gateway stops


class Followers:
    """The followers of one gateway, and the reader they share."""

    def __init__(self, channel: Channel, keys: Keys, pages: EventPages) -> None:
        self._channel = channel
        self._stream = keys.events
        self._pages = pages
        self._count = 0
        self._wanted = asyncio.Event()
        self._news = asyncio.Event()  # another one for each piece of news
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._start: Position | None = None  # whatever came behind it is in `_kept`
        self._last = START
        self.ended = False
        self._tasks: set[asyncio.Task[object]] = set()

    def __len__(self) -> int:
        return self._count

    @contextmanager
    def joined(self) -> Iterator[None]:
        """A place among the followers. Unavailable if there is none left, or the gateway stops."""
        if self.ended:
            raise Unavailable("this gateway is stopping", retry_after_s=1)
        if self._count >= MOST:
            raise Unavailable(
                f"events: this gateway has its limit of {MOST} followers",
                retry_after_s=COME_BACK_S,
            )
        self._count += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._wanted.set()
        try:
            yield
        finally:
            self._tasks.discard(task)
            self._count -= 1
            if self._count == 0:
                self._wanted.clear()

    def end(self) -> None:
        """The gateway stops: every follower is let go, and finds another one."""
        self.ended = True
        self._tell()
        asyncio.get_running_loop().call_later(LAST_WORDS_S, self._cut)

    def _cut(self) -> None:
        for task in self._tasks:  # a client that does not read keeps nobody from stopping
            task.cancel()

    async def next(self, position: Position, within_s: float) -> Page:
        """The events behind `position`, as soon as there are some; none if none came in time, or
        if it has ended. Unavailable if what it lacks could not be read."""
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
            # Where nothing came behind it, there is nothing up to what had been read by then.
            return page if page.events else page._replace(position=max(position, seen))
        newer = takewhile(lambda event: event.position > position, reversed(self._kept))
        events = list(newer)[::-1]
        return Page(events, events[-1].position if events else position)

    async def run_once(self) -> int:
        """Wait for a follower, then for events; how many have come."""
        if self._count == 0:
            self._start = None
            self._kept.clear()
            await self._wanted.wait()
        if self._start is None:
            self._start = self._last = await self._end()
            self._tell()  # who looked in Redis before may have seen less than that
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
        self._tell()
        return len(entries)

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
