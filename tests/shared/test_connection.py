"""Redis's errors become ours, commands are never repeated, and settings are looked at."""

from __future__ import annotations

import asyncio

import pytest
import redis.exceptions

from shared.channel import Channel
from shared.connection import may_have_run, open_redis, redis_errors
from shared.errors import Unavailable
from shared.refusals import NotSent
from tests.helpers.cell import Cell
from tests.helpers.proxy import Proxy


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (redis.exceptions.ConnectionError("Error 111 connecting to 10.0.0.1"), "does not answer"),
        (redis.exceptions.BusyLoadingError("LOADING"), "refused: LOADING, it still reads"),
        (redis.exceptions.TimeoutError("10.0.0.1"), "in time"),
        (redis.exceptions.ReadOnlyError("READONLY You can't write"), "refused: READONLY"),
        (redis.exceptions.ResponseError("MISCONF Redis is configured"), "refused: MISCONF"),
        (redis.exceptions.OutOfMemoryError("OOM command not allowed"), "OOM, its memory is full"),
        (redis.exceptions.OutOfMemoryError("command not allowed"), "refused: OOM"),
        (redis.exceptions.ResponseError("NOREPLICAS Not enough"), "NOREPLICAS, too few replicas"),
        (redis.exceptions.ResponseError("BUSY Redis is busy"), "refused: BUSY"),
        (redis.exceptions.ResponseError("NOPERM this user"), "refused: NOPERM"),
        (redis.exceptions.AuthenticationError("NOAUTH Authentication"), "refused: NOAUTH"),
        (redis.exceptions.ConnectionError("max number of clients reached"), "refused: MAXCLIENTS"),
        (redis.exceptions.ResponseError("WEIRD 10.0.0.1"), "refused: WEIRD"),
    ],
)
def test_an_error_of_redis_is_unavailable_with_the_reason(error: Exception, message: str) -> None:
    """To be tried again later; no address of ours is told."""
    with pytest.raises(Unavailable, match=message) as caught, redis_errors():
        raise error
    assert "10.0.0.1" not in caught.value.message
    assert caught.value.retry_after_s


def test_a_reason_inside_a_script_is_told_too() -> None:
    """Redis 6.2 puts it at the end of its answer."""
    text = (
        "ERR Error running script (call to f_8b): @user_script:31: @user_script: 31: -OOM command "
        "not allowed when used memory > 'maxmemory'."
    )
    with pytest.raises(Unavailable, match="refused: OOM"), redis_errors():
        raise redis.exceptions.ResponseError(text)


def test_other_errors_pass() -> None:
    """They are not Redis's."""
    with pytest.raises(ZeroDivisionError), redis_errors():
        raise ZeroDivisionError


async def test_a_command_whose_answer_was_lost_is_not_sent_again(cell: Cell) -> None:
    """Once, and an error: the caller decides what a lost answer means."""
    async with Proxy.to(cell.url) as proxy:
        client = open_redis(proxy.url)
        await client.ping()
        proxy.drop_answers = True
        with pytest.raises(redis.exceptions.ConnectionError):
            await client.xadd(cell.keys.dead_letters, {"a": 1})
        await client.aclose()
    assert await cell.client.xlen(cell.keys.dead_letters) == 1


async def test_more_callers_than_connections_take_turns(cell: Cell) -> None:
    """A burst of callers waits for a connection, it is not turned away."""
    client = open_redis(cell.url, connections=4)
    try:
        pings = (client.ping() for _ in range(200))
        answers = await asyncio.gather(*pings, return_exceptions=True)
    finally:
        await client.aclose()
    assert answers == [True] * 200


@pytest.mark.parametrize(
    ("error", "may"),
    [
        (redis.exceptions.ConnectionError("connection closed"), True),
        (redis.exceptions.TimeoutError("no answer in time"), True),
        (NotSent("cannot connect"), False),
        (redis.exceptions.BusyLoadingError("LOADING"), False),
        (redis.exceptions.OutOfMemoryError("OOM"), False),
        (redis.exceptions.ResponseError("ERR wrong number of arguments"), False),
    ],
)
def test_a_lost_answer_is_told_from_a_refusal(error: Exception, may: bool) -> None:
    """Only after the first may the call have run."""
    with pytest.raises(Unavailable) as caught, redis_errors():
        raise error
    assert may_have_run(caught.value) == may


async def test_a_call_that_found_no_connection_has_not_run(cell: Cell) -> None:
    """One whose connection broke may have."""
    nowhere = Channel("redis://127.0.0.1:1/0")
    with pytest.raises(Unavailable) as caught, redis_errors():
        await nowhere.execute_command("PING")
    assert not may_have_run(caught.value)
    async with Proxy.to(cell.url) as proxy:
        channel = Channel(proxy.url)
        await channel.execute_command("PING")
        proxy.drop_answers = True
        with pytest.raises(Unavailable) as caught, redis_errors():
            await channel.execute_command("PING")
        await channel.aclose()
    assert may_have_run(caught.value)
