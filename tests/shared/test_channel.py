"""The pipelined connection: answers reach their callers, whatever else happens."""

from __future__ import annotations

import asyncio

import pytest
import redis.exceptions

from deploy.local.redis_server import RedisServer, start_redis
from shared import channel as module
from shared.channel import Channel
from tests.helpers.cell import Cell
from tests.helpers.proxy import Proxy
from tests.helpers.wait import wait_until


async def test_many_callers_get_each_their_own_answer(cell: Cell) -> None:
    """Over one connection, in flight together, large and small."""
    answers = await asyncio.gather(
        *(cell.channel.execute_command("ECHO", b"%d" % n * (n % 7 * 999 + 1)) for n in range(500))
    )
    assert all(a == b"%d" % n * (n % 7 * 999 + 1) for n, a in enumerate(answers))


async def test_a_cancelled_call_does_not_shift_the_answers(cell: Cell) -> None:
    """Its answer is thrown away; nobody gets another's."""
    await cell.channel.execute_command("PING")
    calls = [
        asyncio.ensure_future(cell.channel.execute_command("ECHO", b"%d" % n)) for n in range(300)
    ]
    await asyncio.sleep(0)
    for call in calls[::3]:
        call.cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for n, answer in enumerate(answers):
        assert isinstance(answer, asyncio.CancelledError) if n % 3 == 0 else answer == b"%d" % n


async def test_a_closed_channel_has_closed_its_socket(cell: Cell) -> None:
    """Not some turns of the loop later: the loop may end before."""
    channel = Channel(cell.url)
    call = asyncio.ensure_future(channel.execute_command("ECHO", b"x" * (16 << 20)))
    await channel.execute_command("PING")
    assert channel._link is not None
    socket = channel._link._transport.get_extra_info("socket")
    await channel.aclose()
    assert socket.fileno() == -1
    with pytest.raises(redis.exceptions.ConnectionError):  # a late task opens no further one
        await channel.execute_command("PING")
    await asyncio.gather(call, return_exceptions=True)


async def test_an_error_is_raised_to_its_caller_alone(cell: Cell) -> None:
    """Neighbours in the same pipeline have their answers."""
    good, bad, other = await asyncio.gather(
        cell.channel.execute_command("ECHO", "a"),
        cell.channel.execute_command("NOSUCH"),
        cell.channel.execute_command("ECHO", "b"),
        return_exceptions=True,
    )
    assert (good, other) == (b"a", b"b")
    assert isinstance(bad, redis.exceptions.ResponseError)


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (("EVALSHA", "0" * 40, 0), redis.exceptions.NoScriptError),
        (("EVAL", "return redis.error_reply('READONLY no')", 0), redis.exceptions.ReadOnlyError),
        (("EVAL", "return redis.error_reply('OOM no')", 0), redis.exceptions.OutOfMemoryError),
        (("INCR",), redis.exceptions.ResponseError),
    ],
)
async def test_errors_are_redis_pys(cell: Cell, command: tuple, kind: type[Exception]) -> None:
    """Callers tell them apart by class."""
    with pytest.raises(kind):
        await cell.channel.execute_command(*command)


async def test_binary_arguments_and_nil_answers(cell: Cell) -> None:
    """Bytes are passed as they are; nothing found is None."""
    value = bytes(range(256)) * 1000
    assert await cell.channel.execute_command("ECHO", memoryview(value).tobytes()) == value
    assert await cell.channel.execute_command("GET", cell.keys.epoch) is None


async def test_when_the_connection_is_lost_all_calls_fail_and_the_next_reconnects(
    cell: Cell,
) -> None:
    """Nothing is sent twice."""
    async with Proxy.to(cell.url) as proxy:
        channel = Channel(proxy.url)
        assert await channel.execute_command("PING") == b"PONG"
        proxy.silent = True
        calls = [
            asyncio.ensure_future(channel.execute_command("RPUSH", cell.keys.rq_queue(), n))
            for n in range(3)
        ]

        async def all_ran() -> bool:
            return await cell.client.llen(cell.keys.rq_queue()) == 3

        await wait_until(all_ran)
        proxy.silent = False
        proxy.cut()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(a, redis.exceptions.ConnectionError) for a in answers)
        assert await channel.execute_command("PING") == b"PONG"
        assert proxy.accepted == 2
        assert await cell.client.llen(cell.keys.rq_queue()) == 3
        await channel.aclose()


async def test_callers_that_come_together_share_one_connection(cell: Cell) -> None:
    """Also the first ones, while it is being opened."""
    async with Proxy.to(cell.url) as proxy:
        channel = Channel(proxy.url)
        await asyncio.gather(*(channel.execute_command("PING") for _ in range(50)))
        assert proxy.accepted == 1
        await channel.aclose()


async def test_a_silent_server_is_given_up(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call ends with a timeout, and the next one opens a new connection."""
    async with Proxy.to(cell.url) as proxy:
        channel = Channel(proxy.url)
        await channel.execute_command("PING")
        proxy.silent = True
        with monkeypatch.context() as patch:
            patch.setattr(module, "COMMAND_TIMEOUT_S", 0.1)
            with pytest.raises(redis.exceptions.TimeoutError):
                await channel.execute_command("PING")
        proxy.silent = False
        assert await channel.execute_command("PING") == b"PONG"
        await channel.aclose()


async def test_nobody_listens() -> None:
    """A connection error, at once, and again for the next call."""
    channel = Channel("redis://127.0.0.1:1/0")
    for _ in range(2):
        with pytest.raises(redis.exceptions.ConnectionError):
            await channel.execute_command("PING")


async def test_password_and_database_are_used(own_redis: RedisServer) -> None:
    """A wrong password is an error of Redis's, and leaves no connection behind."""
    admin = Channel(own_redis.url)
    await admin.execute_command("CONFIG", "SET", "requirepass", "secret")
    host = own_redis.url.removeprefix("redis://").removesuffix("/0")
    channel = Channel(f"redis://:secret@{host}/3")
    await channel.execute_command("SET", "a", 1, "PX", 60_000)
    assert b"db3:keys=1" in await channel.execute_command("INFO", "keyspace")
    wrong = Channel(f"redis://:wrong@{host}/0")
    for _ in range(3):
        with pytest.raises(redis.exceptions.RedisError):
            await wrong.execute_command("PING")

    async def two_are_left() -> bool:
        return (await channel.execute_command("CLIENT", "LIST")).count(b"\n") == 2

    await wait_until(two_are_left)
    for opened in (admin, channel, wrong):
        await opened.aclose()


async def test_a_unix_socket_will_do(tmp_path) -> None:
    """As REDIS_URL allows."""
    server = start_redis(tmp_path / "r", appendonly=False, unixsocket=tmp_path / "s")
    channel = Channel(server.url)
    assert await channel.execute_command("PING") == b"PONG"
    await channel.aclose()
    server.stop()


async def test_many_commands_of_one_caller_are_answered_in_order(cell: Cell) -> None:
    """With an error in its place; beside other callers, and after one that went away."""
    lists = Channel(cell.url)
    try:
        commands = [("ECHO", b"%d" % n) for n in range(300)]
        left = asyncio.ensure_future(lists.execute_all(commands))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        first, one, second = await asyncio.gather(
            lists.execute_all(commands),
            lists.execute_command("ECHO", "one"),
            lists.execute_all([("ECHO", "a"), ("NOSUCH",), ("ECHO", "b")]),
        )
        assert first == [b"%d" % n for n in range(300)]
        assert (one, second[0], second[2]) == (b"one", b"a", b"b")
        assert isinstance(second[1], redis.exceptions.ResponseError)
    finally:
        await lists.aclose()


async def test_a_lost_connection_is_the_answer_to_all_that_is_left(own_redis: RedisServer) -> None:
    lists = Channel(own_redis.url)
    try:
        await lists.execute_command("PING")
        call = asyncio.ensure_future(lists.execute_all([("BLPOP", "none", 0), ("PING",)]))
        await asyncio.sleep(0)
        own_redis.stop()
        answers = await call
        assert [type(answer) for answer in answers] == [redis.exceptions.ConnectionError] * 2
    finally:
        await lists.aclose()
