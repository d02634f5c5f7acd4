"""Writes events. The caller of `emit` never waits and never gets an error.

All events of one turn of the event loop are sent together. While Redis is away the newest are kept,
and when it is back an event reports how many were lost. An event whose answer was lost is not sent
again: a missing event is counted and reported, a duplicate would look like a second load.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import NamedTuple

from msgspec import structs

from shared import clock, events
from shared.backoff import wait_s
from shared.channel import Channel
from shared.connection import may_have_run, redis_errors
from shared.errors import Unavailable
from shared.events import Event, Kind
from shared.keys import Keys
from shared.names import ModelRef

log = logging.getLogger(__name__)

MOST = 1000  # events kept while Redis is away
AT_ONCE = 128
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 2.0
LATE_S = 1.0


class _Noted(NamedTuple):
    """An event, and its time by this process's clock."""

    event: Event
    at: float


class EventLog:
    """The events of one process. Only the code of its event loop calls this."""

    def __init__(self, channel: Channel, keys: Keys, worker: str = "") -> None:
        self._channel = channel
        self._stream = keys.events
        self._worker = worker
        self._waiting: deque[_Noted] = deque()
        self._lost = 0
        self._task: asyncio.Task[None] | None = None

    def emit(
        self, kind: Kind, ref: ModelRef | str = "", *, worker: str = "", tier_from: str = "",
        tier_to: str = "", reason: str = "", bytes: int | None = None,
        bytes_regained: int | None = None, seconds: float | None = None,
        warmed: bool | None = None,
    ) -> None:  # fmt: skip
        """Queue an event to be written; the fields are those of `Event`."""
        event = Event(
            kind=kind, ref=str(ref), worker=worker or self._worker, tier_from=tier_from,
            tier_to=tier_to, reason=reason, bytes=bytes, bytes_regained=bytes_regained,
            seconds=seconds, warmed=warmed,
        )  # fmt: skip
        self._waiting.append(_Noted(event, clock.monotonic()))
        self._forget_oldest()
        if self._task is None or self._task.done():
            with suppress(RuntimeError):  # no event loop yet: it goes with the next one
                asyncio.get_running_loop()
                self._task = asyncio.create_task(self._write())

    async def finish(self, longest_s: float) -> None:
        """Wait for events in flight, then give up; afterwards the channel may be closed."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=longest_s)
            self._task.cancel()

    async def _write(self) -> None:
        failures = 0
        while self._waiting or self._lost:
            if await self._send_some():
                failures = 0
                continue
            failures += 1
            await asyncio.sleep(wait_s(failures, FIRST_WAIT_S, LONGEST_WAIT_S))

    async def _send_some(self) -> bool:
        """Send the oldest; False if there are some to be sent again."""
        lost, self._lost = self._lost, 0
        batch = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
        loss = _Noted(_loss(lost, self._worker), clock.monotonic())
        sent = [loss, *batch] if lost else batch
        kept = await asyncio.gather(*(self._send(noted) for noted in sent))
        if lost and kept.pop(0) is not True:
            self._lost += lost
        again = [noted for noted, done in zip(batch, kept, strict=True) if done is False]
        self._lost += sum(done is None for done in kept)
        self._waiting.extendleft(reversed(again))
        self._forget_oldest()
        return not again and not self._lost

    async def _send(self, noted: _Noted) -> bool | None:
        """True: written. False: not written. None: unknown, or it can never be."""
        try:
            flat = events.encode(_with_delay(noted))
            with redis_errors():
                await self._channel.execute_command(
                    "XADD", self._stream, "MAXLEN", "~", events.MAX_EVENTS, "*", *flat
                )
        except Unavailable as error:
            return None if may_have_run(error) else False
        except Exception:
            log.exception("an event could not be written")
            return None
        return True

    def _forget_oldest(self) -> None:
        while len(self._waiting) > MOST:
            self._waiting.popleft()
            self._lost += 1


def _with_delay(noted: _Noted) -> Event:
    late_s = clock.monotonic() - noted.at
    if late_s < LATE_S:
        return noted.event
    return structs.replace(noted.event, late_s=late_s)


def _loss(lost: int, worker: str) -> Event:
    reason = f"{lost} events were not written, or perhaps not: Redis did not answer"
    return Event(kind="events_lost", worker=worker, reason=reason)
