"""Redis's errors become ours, commands are never repeated, and settings are looked at."""

from __future__ import annotations

import asyncio

import pytest
import redis.exceptions

from shared.connection import check_redis, open_redis, redis_errors
from shared.errors import ConfigError, Unavailable
from tests.helpers.cell import Cell
from tests.helpers.proxy import Proxy


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (redis.exceptions.ConnectionError("Error 111 connecting to 10.0.0.1"), "does not answer"),
        (redis.exceptions.BusyLoadingError("LOADING"), "does not answer"),
        (redis.exceptions.TimeoutError("10.0.0.1"), "in time"),
        (redis.exceptions.ReadOnlyError("READONLY You can't write"), "refused: READONLY"),
        (redis.exceptions.ResponseError("MISCONF Redis is configured"), "refused: MISCONF"),
        (redis.exceptions.OutOfMemoryError("OOM command not allowed"), "refused: OOM"),
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
            await client.xadd(cell.keys.dead, {"a": 1})
        await client.aclose()
    assert await cell.client.xlen(cell.keys.dead) == 1


async def test_more_callers_than_connections_take_turns(cell: Cell) -> None:
    """A burst of callers waits for a connection, it is not turned away."""
    client = open_redis(cell.url, connections=4)
    try:
        pings = (client.ping() for _ in range(200))
        answers = await asyncio.gather(*pings, return_exceptions=True)
    finally:
        await client.aclose()
    assert answers == [True] * 200


async def test_a_server_that_is_not_there_is_a_wrong_setting() -> None:
    """The password is not in the message."""
    url = "redis://:secret@127.0.0.1:1/0"
    client = open_redis(url)
    with pytest.raises(ConfigError, match=r"REDIS_URL: redis://:\*\*\*@127\.0\.0\.1:1/0") as caught:
        await check_redis(client, url)
    assert "secret" not in caught.value.message
    await client.aclose()


async def test_a_server_without_an_append_only_file_is_warned_of(cell: Cell) -> None:
    """As the tests' own is."""
    (warning,) = await check_redis(cell.client, cell.url)
    assert "appendonly" in warning


class Says:
    """A Redis that says of itself what a test wants."""

    def __init__(self, **info: object) -> None:
        self._info = {"redis_version": "7.0.15", "aof_enabled": 1, "maxmemory": 0} | info

    async def info(self) -> dict[str, object]:
        return self._info


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ({}, []), ({"redis_version": "6.2.0"}, []), ({"redis_version": "8.2.3"}, []),
        ({"maxmemory": 1, "maxmemory_policy": "noeviction"}, []),
        ({"maxmemory": 1, "maxmemory_policy": "volatile-ttl"}, ["noeviction"]),
        ({"aof_enabled": 0}, ["appendonly"]),
    ],
)  # fmt: skip
async def test_settings_that_cannot_keep_the_promise_are_told(
    info: dict[str, object], said: list[str]
) -> None:
    """A policy that evicts, if there is a limit at all; no append-only file."""
    warnings = await check_redis(Says(**info), "redis://x")
    assert len(warnings) == len(said)
    assert all(word in warning for word, warning in zip(said, warnings, strict=True))


@pytest.mark.parametrize("version", ["6.0.16", "5.0.7", "2.8"])
async def test_a_redis_that_is_too_old_is_refused(version: str) -> None:
    """With the version wanted."""
    with pytest.raises(ConfigError, match=rf"{version}, at least 6\.2"):
        await check_redis(Says(redis_version=version), "redis://x")
