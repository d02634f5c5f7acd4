"""Reads the event log: pages of it, from the end or from a position on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from redis.asyncio import Redis

from shared.connection import redis_errors
from shared.events import MAX_EVENTS, START, Event, Position, decode, id_of
from shared.keys import Keys
from shared.redis_decode import clock_ms

AT_ONCE = 500

Accepts = Callable[[Event], bool]


class Page(NamedTuple):
    """Events, oldest first. `position`: how far was looked. `gap`: between where this page begins
    and its first event there may have been others, which are no longer kept."""

    events: list[Event]
    position: Position
    gap: bool = False


class EventPages:
    """Reads by a client of its own: a long page must not hold up the requests."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._stream = keys.events

    async def end(self) -> Position:
        """The position of the newest event."""
        with redis_errors():
            rows: Any = await self._client.xrevrange(self._stream, count=1)
        return decode(*rows[0]).position if rows else START

    async def clock_ms(self) -> int:
        """Redis's clock, which also stamps the events."""
        with redis_errors():
            return clock_ms(await self._client.time())

    async def newest(self, limit: int, accepts: Accepts) -> Page:
        """The last `limit` events that the filter accepts."""
        found: list[Event] = []
        end, upto = START, "+"
        while len(found) < limit:
            with redis_errors():
                rows: Any = await self._client.xrevrange(self._stream, upto, "-", AT_ONCE)
            read = [decode(*row) for row in rows]
            end = max([end, *(event.position for event in read[:1])])
            found += [event for event in read if accepts(event)]
            if len(read) < AT_ONCE:
                break
            upto = f"({read[-1].id}"
        return Page(found[:limit][::-1], end)

    async def after(self, position: Position, limit: int, accepts: Accepts) -> Page:
        """The first `limit` accepted events behind `position`."""
        found: list[Event] = []
        gap = False
        while True:
            page = await self.read(position)
            gap |= page.gap
            for event in page.events:
                position = event.position
                if accepts(event):
                    found.append(event)
                    if len(found) == limit:
                        return Page(found, position, gap)
            if len(page.events) < AT_ONCE:
                return Page(found, position, gap)

    async def read(self, position: Position) -> Page:
        """What comes next behind `position`, wanted or not."""
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            pipe.xrange(self._stream, f"({id_of(position)}", "+", AT_ONCE)
            pipe.xrange(self._stream, "-", "+", 1)
            pipe.xlen(self._stream)
            rows, first, length = await pipe.execute()
        events = [decode(*row) for row in rows]
        oldest = decode(*first[0]).position if first else START
        gap = is_gap(position, oldest, length)
        return Page(events, events[-1].position if events else position, gap)


def is_gap(position: Position, oldest: Position, length: int) -> bool:
    """Whether events behind `position` may have been dropped. (Who reads from the start asks for
    what is kept; and a log that is not full has dropped nothing.)"""
    return START < position < oldest and length >= MAX_EVENTS
