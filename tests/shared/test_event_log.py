"""Writing events: at once, in order, and without anybody waiting for it or hearing of a failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis.exceptions

from shared import event_log as module
from shared.channel import Channel
from shared.event_log import EventLog
from shared.events import MAX_EVENTS, Event, decode
from tests.helpers.cell import Cell
from tests.helpers.factories import REF
from tests.helpers.proxy import Proxy
from tests.helpers.wait import wait_until


class Away:
    """A channel to a Redis that is not there; `error` says what callers hear."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.error: Exception | None = None
        self.sent = 0

    async def execute_command(self, *args: object) -> object:
        self.sent += 1
        if self.error is not None:
            raise self.error
        return await self._channel.execute_command(*args)


@pytest.fixture
def away(cell: Cell) -> Away:
    return Away(cell.channel)


@pytest.fixture
async def events(
    cell: Cell, away: Away, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[EventLog]:
    """The events of worker w1."""
    monkeypatch.setattr(module, "LONGEST_WAIT_S", 0.05)
    made = EventLog(away, cell.keys, "w1")  # type: ignore[arg-type]
    yield made
    await made.finish(10)


async def written(cell: Cell) -> list[Event]:
    return [decode(*row) for row in await cell.client.xrange(cell.keys.events)]


async def test_events_are_written_in_their_order_with_what_they_tell(
    cell: Cell, events: EventLog
) -> None:
    """The worker is the writer's, if none is named."""
    events.emit("loaded", REF, tier_from="disk", tier_to="device", bytes=10, seconds=0.5)
    events.emit("evicted", REF, reason="room for another", bytes_regained=10)
    events.emit("session_opened", worker="", reason="s1")
    await events.finish(10)
    first, second, third = await written(cell)
    assert (first.kind, first.worker, first.ref) == ("loaded", "w1", REF)
    assert (first.tier_from, first.tier_to, first.bytes) == ("disk", "device", 10)
    assert (second.kind, second.reason, second.bytes_regained) == (
        "evicted",
        "room for another",
        10,
    )
    assert third.kind == "session_opened" and third.late_s is None


async def test_what_is_emitted_in_one_turn_is_sent_in_one_turn(
    cell: Cell, away: Away, events: EventLog
) -> None:
    """Nobody waits for an answer in between."""
    for _ in range(50):
        events.emit("loading", REF)
    assert away.sent == 0  # who emits is not held up
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert away.sent == 50
    await events.finish(10)
    assert len(await written(cell)) == 50


async def test_the_log_is_capped(cell: Cell, events: EventLog) -> None:
    """At about its limit: Redis drops whole blocks."""
    for _ in range(12):
        pipe = cell.client.pipeline(transaction=False)
        for _ in range(1000):
            pipe.xadd(cell.keys.events, {"kind": "loaded"})
        await pipe.execute()
    events.emit("evicted", REF)
    await events.finish(10)
    assert MAX_EVENTS <= await cell.client.xlen(cell.keys.events) < MAX_EVENTS + 200


async def test_while_redis_is_away_events_wait_in_their_order(
    cell: Cell, away: Away, events: EventLog
) -> None:
    """And say how long they had to."""
    away.error = redis.exceptions.ResponseError("LOADING it is")
    for number in range(3):
        events.emit("loaded", REF, bytes=number)
    await wait_until(lambda: away.sent > 6)
    away.error = None
    await events.finish(10)
    assert [event.bytes for event in await written(cell)] == [0, 1, 2]


async def test_how_late_an_event_is_stands_in_it(
    cell: Cell, away: Away, events: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From about a second on."""
    monkeypatch.setattr(module, "LATE_S", 0.0)
    events.emit("loaded", REF)
    await events.finish(10)
    (event,) = await written(cell)
    assert event.late_s is not None and event.late_s >= 0


async def test_too_many_events_push_out_the_oldest_and_are_counted(
    cell: Cell, away: Away, events: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once Redis answers, an event tells how many are missing."""
    monkeypatch.setattr(module, "MOST", 10)
    away.error = redis.exceptions.ResponseError("OOM no room")
    for number in range(25):
        events.emit("loaded", REF, bytes=number)
        if number == 15:
            await wait_until(lambda: away.sent > 10)
    assert len(events._waiting) <= 10
    away.error = None
    await events.finish(10)
    found = await written(cell)
    loss = [event for event in found if event.kind == "events_lost"]
    assert sum(int(event.reason.split()[0]) for event in loss) == 15
    assert [event.bytes for event in found if event.kind == "loaded"] == list(range(15, 25))


async def test_an_event_whose_answer_was_lost_is_not_written_twice(cell: Cell) -> None:
    """It may have been written: it is counted as perhaps lost, as two loads would be worse."""
    async with Proxy.to(cell.url) as proxy:
        channel = Channel(proxy.url)
        events = EventLog(channel, cell.keys, "w1")
        proxy.drop_answers = True
        events.emit("loaded", REF)
        await wait_until(lambda: events._lost == 1)
        proxy.drop_answers = False
        await events.finish(10)
        await channel.aclose()
    kinds = [event.kind for event in await written(cell)]
    assert kinds.count("loaded") <= 1 and kinds[-1] == "events_lost"


async def test_an_event_that_cannot_be_written_is_counted_and_no_error(
    cell: Cell, away: Away, events: EventLog, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody who emits hears of it."""
    away.error = TypeError("this is a bug")
    events.emit("loaded", REF)
    await wait_until(lambda: away.sent > 0)
    away.error = None
    await events.finish(10)
    assert [event.kind for event in await written(cell)] == ["events_lost"]
    assert "could not be written" in caplog.text


def test_without_an_event_loop_an_event_goes_with_the_next_one() -> None:
    """A process that is still starting has something to say too."""
    EventLog(None, _Keys(), "w1").emit("restarted")  # type: ignore[arg-type]


class _Keys:
    events = "events"
