"""GET /v2/events as server-sent events: nothing is missed, nobody is held up, it ends in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from router.events import followers as module
from router.events.followers import Followers
from router.events.pages import EventPages
from router.rest.endpoints import events as endpoint
from shared.events import Event
from tests.helpers.cell import Cell
from tests.helpers.following import (
    STREAM,
    following,
    following_slowly,
    unsent,
    write,
    write_many,
)
from tests.helpers.gateway import RunningGateway, publish_nothing, running_gateway
from tests.helpers.proxy import Proxy
from tests.helpers.wait import wait_until


@pytest.fixture
async def gateway(cell: Cell, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    """A gateway to follow."""
    # It bears with followers that read slowly for as long as this machine takes.
    env = {"WARMROUTE_BODY_S": "600"}
    async with running_gateway(cell, publish_nothing(tmp_path), **env) as running:
        yield running


def numbers(events: list[dict]) -> list[int]:
    return [event["bytes"] for event in events]


async def test_a_follower_is_told_of_what_happens_from_now_on(
    cell: Cell, gateway: RunningGateway
) -> None:
    """Not of what has happened before."""
    await write_many(cell, 3)
    async with following(gateway) as follower:
        await write_many(cell, 2, first=10)
        assert numbers(await follower.take(2)) == [10, 11]


async def test_a_follower_may_begin_in_the_past(cell: Cell, gateway: RunningGateway) -> None:
    """`?since=0` is all that is kept; an event's id, what came after it."""
    ids = await write_many(cell, 5)
    async with following(gateway, "?since=0") as follower:
        assert numbers(await follower.take(5)) == [0, 1, 2, 3, 4]
    async with following(gateway, f"?since={ids[2]}") as follower:
        assert numbers(await follower.take(2)) == [3, 4]


async def test_a_follower_that_connects_again_misses_nothing(
    cell: Cell, gateway: RunningGateway
) -> None:
    """With Last-Event-ID, wherever it was cut off, while events go on; it counts for more than
    `since`, which a browser sends again too."""
    writing = asyncio.create_task(_write_slowly(cell, 300))
    seen: list[int] = []
    last = "0"
    while len(seen) < 300:
        async with following(gateway, "?since=0", **{"Last-Event-ID": last}) as follower:
            seen += numbers(await follower.take(min(23, 300 - len(seen))))
            last = follower.last
    await writing
    assert seen == list(range(300))


async def test_one_who_has_seen_no_event_yet_can_resume_too(
    cell: Cell, gateway: RunningGateway
) -> None:
    """It is told at once where it stands."""
    await write_many(cell, 1)
    async with following(gateway) as follower:
        last = follower.last
    await write_many(cell, 1, first=5)
    async with following(gateway, **{"Last-Event-ID": last}) as follower:
        assert numbers(await follower.take(1)) == [5]


async def test_events_can_be_chosen(cell: Cell, gateway: RunningGateway) -> None:
    """By model, worker and kind; from all, a follower gets only those."""
    async with following(gateway, "?model=mnist&worker=w2&kind=evicted,demoted") as follower:
        await write_many(cell, 2, worker="w2")
        await write_many(cell, 2, kind="evicted")
        await write(cell, Event(kind="evicted", worker="w2", ref="bert:1:0123456789ab"))
        await write_many(cell, 1, first=7, kind="demoted", worker="w2")
        assert numbers(await follower.take(1)) == [7]


async def test_a_follower_that_does_not_read_holds_nobody_up(
    cell: Cell, gateway: RunningGateway
) -> None:
    """The others go on; and when it reads again it still gets all of them."""
    count, reason = 9500, "x" * 400  # more than the sockets hold between the two
    async with following_slowly(gateway) as slow, following(gateway) as quick:
        for first in range(0, count, 500):
            await write_many(cell, 500, first=first, reason=reason)
            assert numbers(await quick.take(500)) == list(range(first, first + 500))
        assert unsent(gateway) > 0
        assert numbers(await slow.take(count)) == list(range(count))


async def test_all_followers_share_one_read(
    cell: Cell, gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And without any, nothing is read."""
    channel = gateway.context.followers._channel
    ask, under_way = channel.execute_command, [0]

    async def counted(*args: object) -> object:
        under_way[0] += 1
        assert under_way[0] == 1
        try:
            return await ask(*args)
        finally:
            under_way[0] -= 1

    monkeypatch.setattr(channel, "execute_command", counted)
    assert channel._link is None
    async with AsyncExitStack() as stack:
        followers = [await stack.enter_async_context(following(gateway)) for _ in range(10)]
        await write_many(cell, 3)
        for follower in followers:
            assert numbers(await follower.take(3)) == [0, 1, 2]
        await wait_until(lambda: under_way == [1])
    await wait_until(lambda: len(gateway.context.followers) == 0)


async def test_beyond_the_limit_a_follower_is_told_to_come_back(
    cell: Cell, gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 with when; who leaves makes room."""
    monkeypatch.setattr(module, "MOST", 1)
    async with following(gateway):
        async with gateway.http.get("/v2/events", headers=STREAM) as answer:
            assert answer.status == 503 and int(answer.headers["Retry-After"]) >= 5
            assert "1 followers, its limit" in (await answer.json())["error"]
    await wait_until(lambda: len(gateway.context.followers) == 0)
    async with following(gateway):
        pass


async def test_a_stopping_gateway_lets_its_followers_go(
    cell: Cell, gateway: RunningGateway
) -> None:
    """At once, with a proper end of the stream, and takes no new ones."""
    async with following(gateway) as follower:
        draining = asyncio.create_task(gateway.drain(60))
        assert await follower.next() is None
        await draining
    assert gateway.context.followers.ended


async def test_a_quiet_stream_is_kept_alive(
    cell: Cell, gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a comment, with how far the log was looked through, though none of it was wanted."""
    monkeypatch.setattr(endpoint, "KEEP_ALIVE_S", 0.05)
    async with following(gateway, "?kind=evicted") as follower:
        (newest,) = await write_many(cell, 1)
        while follower.last != newest:
            await follower._block()
        assert follower.comments > 0


async def test_a_follower_lives_through_an_outage_of_redis(cell: Cell, tmp_path: Path) -> None:
    """What happened meanwhile comes when it is back."""
    async with Proxy.to(cell.url) as proxy:
        async with running_gateway(cell, publish_nothing(tmp_path), proxy.url) as gateway:
            async with following(gateway) as follower:
                await write_many(cell, 1)
                assert numbers(await follower.take(1)) == [0]
                proxy.refusing = True
                proxy.cut()
                await write_many(cell, 2, first=1)
                proxy.refusing = False
                assert numbers(await follower.take(2)) == [1, 2]


async def test_who_is_told_of_a_gap_knows_that_some_are_missing(
    cell: Cell, gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events that were dropped from the log before they were read."""
    monkeypatch.setattr("router.events.pages.MAX_EVENTS", 2)
    ids = await write_many(cell, 5)
    await cell.client.xtrim(cell.keys.events, maxlen=2, approximate=False)
    async with following(gateway, **{"Last-Event-ID": ids[0]}) as follower:
        assert numbers(await follower.take(2)) == [3, 4]
        assert follower.gaps == 1


async def test_between_looking_and_waiting_no_event_gets_lost(cell: Cell) -> None:
    """One that comes just after Redis was asked, and before the shared read has begun."""
    pages = EventPages(cell.client, cell.keys)
    followers = Followers(cell.channel, cell.keys, pages)
    with followers.joined():
        next_one = asyncio.create_task(followers.next((0, 1), 20))
        for _ in range(20):
            await asyncio.sleep(0)
        await write_many(cell, 1)
        reading = asyncio.create_task(followers.run_once())
        page = await next_one
        assert [event.bytes for event in page.events] == [0]
        reading.cancel()


async def _write_slowly(cell: Cell, count: int) -> None:
    for number in range(count):
        await write_many(cell, 1, first=number)
