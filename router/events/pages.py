"""Reads the event log: pages from the end or from a position on, and the filters of readers."""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import strptime
from typing import Any, NamedTuple

from redis.asyncio import Redis

from shared.connection import redis_errors
from shared.errors import InvalidInput
from shared.events import KINDS, MAX_EVENTS, START, Event, Position, decode, id_of, position_of
from shared.keys import Keys
from shared.names import VERSION, check_model_name
from shared.redis_decode import clock_ms

AT_ONCE = 500
MAX_WORKER = 256  # characters
LAST = (1 << 64) - 1  # the highest number that Redis gives an entry of one millisecond
ENTRY = re.compile(r"\d{1,15}(-\d{1,20})?", re.ASCII)
AGO = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
TIME = "%Y-%m-%dT%H:%M:%SZ"

Accepts = Callable[[Event], bool]


class Page(NamedTuple):
    """Events, oldest first. `position`: up to where the log was read. `gap`: events between the
    start of this page and its first event may have been dropped."""

    events: list[Event]
    position: Position
    gap: bool = False


class EventPages:
    """Reads by a client of its own: a long page must not delay requests."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._stream = keys.events

    async def end(self) -> Position:
        """The position of the newest event."""
        with redis_errors():
            rows: Any = await self._client.xrevrange(self._stream, count=1)
        return decode(*rows[0]).position if rows else START

    async def clock_ms(self) -> int:
        """Redis's clock in ms, which also stamps the events."""
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
        """The next events behind `position`, unfiltered."""
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
    """Whether events behind `position` may have been dropped. (A reader from the start gets what is
    kept; and a log that is not full has dropped nothing.)"""
    return START < position < oldest and length >= MAX_EVENTS


@dataclass(frozen=True)
class EventFilter:
    """A filter; an empty field accepts all events. `model` is a name or name:version."""

    model: str = ""
    worker: str = ""
    kinds: frozenset[str] = frozenset()

    def __call__(self, event: Event) -> bool:
        """Whether an event passes."""
        if self.kinds and event.kind not in self.kinds:
            return False
        if self.worker and event.worker != self.worker:
            return False
        return not self.model or self.model in (event.model, f"{event.model}:{event.version}")


def parse_filter(query: Mapping[str, str], kinds_given: Iterable[str] = ()) -> EventFilter:
    """`?model=&worker=`, and each `?kind=`, which may be a comma list. InvalidInput names the
    field."""
    kinds = [kind for text in kinds_given for kind in text.split(",")]
    for kind in kinds:
        if kind not in KINDS:
            raise InvalidInput(f"kind: {kind[:40]!r} is not one of {', '.join(KINDS)}")
    worker = query.get("worker", "")
    if len(worker) > MAX_WORKER or ("worker" in query and not worker):
        raise InvalidInput(f"worker: want 1 to {MAX_WORKER} characters")
    return EventFilter(_model(query), worker, frozenset(kinds))


def _model(query: Mapping[str, str]) -> str:
    text = query.get("model")
    if text is None:
        return ""
    name, colon, version = text.partition(":")
    if colon and not VERSION.fullmatch(version):
        raise InvalidInput("model: want a name, or name:version")
    try:
        check_model_name(name)
    except InvalidInput as error:
        raise InvalidInput(f"model: {error.message}") from None
    return text


def parse_since(text: str, now_ms: int, field: str = "since") -> Position:
    """The position behind which to read: an entry id (excluded), a time, or
    a time ago by Redis's clock, `now_ms`. InvalidInput names the field."""
    if ENTRY.fullmatch(text):
        position = position_of(text)
        if position[1] <= LAST:
            return position
    if ago := AGO.fullmatch(text):
        return _before(now_ms - int(ago[1]) * UNITS_MS[ago[2]])
    try:
        return _before(timegm(strptime(text, TIME)) * 1000)
    except (ValueError, OverflowError):
        raise InvalidInput(
            f"{field}: want an event's id such as 1700000000000-0, a time such as "
            "2026-01-02T03:04:05Z, or 90s, 10m, 2h or 1d ago"
        ) from None


def _before(ms: int) -> Position:
    return (ms - 1, LAST) if ms > 0 else START
