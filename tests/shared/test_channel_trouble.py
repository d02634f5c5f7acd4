"""A channel whose server is away, unfit or crowded: nobody waits long, nobody floods it."""

from __future__ import annotations

import asyncio
import socket

import pytest
import redis.exceptions

from deploy.local.redis_server import RedisServer
from shared import backoff, clock
from shared import channel as module
from shared.backoff import Backoff
from shared.channel import Channel
from shared.connection import open_redis
from tests.helpers.cell import Cell
from tests.helpers.proxy import Proxy
from tests.helpers.wait import wait_until


async def test_a_crowd_does_not_wait_for_one_connect_timeout_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that takes connections and says nothing: all callers share its one timeout."""
    monkeypatch.setattr(module, "CONNECT_TIMEOUT_S", 0.2)
    monkeypatch.setattr(backoff, "FIRST_S", 60.0)
    monkeypatch.setattr(backoff, "LONGEST_S", 60.0)
    taken = 0

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        taken += 1
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    channel = Channel(f"redis://:secret@127.0.0.1:{port}/0")  # AUTH has to be answered first
    for _ in range(2):  # the second crowd comes between two tries
        calls = (channel.execute_command("PING") for _ in range(100))
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(a, redis.exceptions.ConnectionError) for a in answers)
        await wait_until(lambda: taken)
        assert taken == 1
    await channel.aclose()
    server.close()


async def test_after_a_failed_connect_the_next_try_comes_later_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Up to a second, and at once when a connection had lasted, or for the first that had not."""
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    now, tried = 0.0, []
    backoff = Backoff()
    for _ in range(12):
        backoff.failed()
        waited = 0.0
        while backoff.waits():
            now += 0.001
            waited += 0.001
        tried.append(waited)
    assert 0.02 < tried[0] <= 0.06 and 0.4 < tried[-1] <= 1.01
    for lasted_s, waits in ((60, False), (0.01, False), (0.01, True)):
        backoff.lost(lasted_s)
        assert backoff.waits() == waits


async def test_who_is_cancelled_does_not_take_the_connection_from_others(cell: Cell) -> None:
    """The first caller opens it for all, and leaves."""
    channel = Channel(cell.url)
    first, *others = [asyncio.ensure_future(channel.execute_command("PING")) for _ in range(5)]
    await asyncio.sleep(0)
    first.cancel()
    assert await asyncio.gather(*others) == [b"PONG"] * 4
    await channel.aclose()


@pytest.mark.parametrize(
    "says",
    [
        "READONLY You can't write against a read only replica.",
        "LOADING Redis is loading the dataset in memory",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "ERR Error running script (call to f_8b): @user_script:3: -READONLY You can't write",
    ],
)
async def test_a_server_that_cannot_serve_is_left(cell: Cell, says: str) -> None:
    """The next call connects anew, as the address may lead elsewhere; answers on their way come."""
    async with Proxy.to(cell.url) as proxy:
        channel = Channel(proxy.url)
        refused, other = await asyncio.gather(
            channel.execute_command("EVAL", "return redis.error_reply(ARGV[1])", 0, says),
            channel.execute_command("ECHO", "a"),
            return_exceptions=True,
        )
        assert isinstance(refused, redis.exceptions.RedisError) and other == b"a"
        assert await channel.execute_command("PING") == b"PONG"
        assert proxy.accepted == 2
        await channel.aclose()


async def test_no_flood_of_connections_to_a_server_that_never_serves(cell: Cell) -> None:
    """A replica that stays one: callers hear so, and most of them without a new connection."""
    refusal = ("EVAL", "return redis.error_reply('READONLY no')", 0)
    async with Proxy.to(cell.url) as proxy:
        channel = Channel(proxy.url)
        for _ in range(200):
            with pytest.raises(redis.exceptions.ReadOnlyError):
                await channel.execute_command(*refusal)
        assert proxy.accepted < 20
        await channel.aclose()


async def test_a_server_with_too_many_clients_is_tried_again(own_redis: RedisServer) -> None:
    """Its unasked answer is no bug of ours; with room again calls succeed."""
    admin = open_redis(own_redis.url)
    await admin.config_set("maxclients", 1)
    channel = Channel(own_redis.url)
    with pytest.raises(redis.exceptions.ConnectionError):
        await channel.execute_command("PING")
    await admin.config_set("maxclients", 100)

    async def answers() -> bool:
        try:
            return await channel.execute_command("PING") == b"PONG"
        except redis.exceptions.ConnectionError:
            return False

    await wait_until(answers)
    await channel.aclose()
    await admin.aclose()


async def test_a_dead_connection_is_found_by_the_system(cell: Cell) -> None:
    """Keepalive is on, and not after the two hours that are usual."""
    channel = Channel(cell.url)
    await channel.execute_command("PING")
    sock = channel._link._transport.get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 60
    await channel.aclose()
