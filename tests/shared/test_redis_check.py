"""The start-up check: what it refuses, what it warns of, and what it only tells."""

from __future__ import annotations

import logging

import pytest
import redis.exceptions

from deploy.local.redis_server import RedisServer, start_redis
from shared import redis_start
from shared.connection import open_redis
from shared.errors import ConfigError
from shared.redis_check import check_redis
from tests.helpers.cell import Cell
from tests.helpers.wait import wait_until


async def test_a_server_that_is_not_there_is_a_wrong_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The password is not in the message."""
    monkeypatch.setattr(redis_start, "TRY_S", 0.05)
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
    """A Redis that says of itself what a test wants; settings of None may not be asked for."""

    def __init__(self, settings: dict[str, str] | None = None, **info: object) -> None:
        self._info = {"redis_version": "7.0.15", "aof_enabled": 1, "maxmemory": 0} | info
        self._settings = settings

    async def info(self) -> dict[str, object]:
        return self._info

    async def config_get(self, name: str) -> dict[bytes, bytes]:
        if self._settings is None:
            raise redis.exceptions.ResponseError("unknown command 'CONFIG'")
        usual = {"appendfsync": "always", "min-replicas-to-write": "0"}
        return {name.encode(): (usual | self._settings)[name].encode()}


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ({"maxclients": 100, "connected_clients": 75}, []),
        ({"maxclients": 100, "connected_clients": 80}, ["80 of at most 100 connections"]),
        ({}, []), ({"redis_version": "6.2.0"}, []), ({"redis_version": "8.2.3"}, []),
        ({"maxmemory": 1, "maxmemory_policy": "noeviction"}, []),
        ({"maxmemory": 1, "maxmemory_policy": "volatile-ttl"}, ["noeviction"]),
        ({"aof_enabled": 0}, ["appendonly"]),
        ({"settings": {"appendfsync": "no"}}, ["appendfsync is no"]),
        ({"settings": {"appendfsync": "everysec"}}, []),
        ({"settings": {}, "connected_slaves": 1}, ["min-replicas-to-write"]),
        ({"settings": {"min-replicas-to-write": "1"}, "connected_slaves": 1}, []),
        ({"connected_slaves": 1}, []),
        ({"role": "slave"}, ["a replica"]),
        ({"aof_enabled": 0, "maxmemory": 1, "maxmemory_policy": "allkeys-lru"},
         ["noeviction", "appendonly"]),
    ],
)  # fmt: skip
async def test_settings_that_cannot_keep_the_promise_are_told(info: dict, said: list[str]) -> None:
    """A policy that evicts, if there is a limit at all; what a crash or a failover would lose."""
    warnings = await check_redis(Says(**info), "redis://x")
    assert len(warnings) == len(said)
    assert all(word in warning for word, warning in zip(said, warnings, strict=True))


async def test_with_strict_a_warning_is_the_end() -> None:
    """With all of them in one message; a Redis that keeps the promise is taken."""
    bad = Says(aof_enabled=0, role="slave")
    with pytest.raises(ConfigError, match=r"WARMROUTE_STRICT=1.*appendonly.*replica"):
        await check_redis(bad, "redis://x", strict=True)
    bounded = Says({}, maxmemory=1 << 30, maxmemory_policy="noeviction")
    assert await check_redis(bounded, "redis://x", strict=True) == []


async def test_with_strict_a_redis_needs_a_bound(caplog: pytest.LogCaptureFixture) -> None:
    """Without one it grows until the kernel ends it; who is not strict is told, and goes on."""
    with pytest.raises(ConfigError, match="maxmemory is 0"):
        await check_redis(Says(), "redis://x", strict=True)
    assert await check_redis(Says(), "redis://x") == []


async def test_what_holds_only_within_limits_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Every second is a fair choice, no limit of memory too: but one should know."""
    with caplog.at_level(logging.INFO):
        await check_redis(Says({"appendfsync": "everysec"}), "redis://x")
        await check_redis(Says(), "redis://x")
    said = caplog.text
    assert "everysec" in said and "maxmemory is 0" in said
    assert "appendfsync could not be checked" in said


async def test_a_real_server_is_read(own_redis: RedisServer, tmp_path) -> None:
    """The names of its settings are Redis's, and a real replica is noticed on both sides."""
    client = open_redis(own_redis.url)
    await client.config_set("appendonly", "yes")
    await client.config_set("appendfsync", "no")
    assert "appendfsync" in (await check_redis(client, own_redis.url))[0]
    await client.config_set("appendfsync", "always")
    replica = start_redis(tmp_path / "replica")
    follower = open_redis(replica.url)
    host, port = own_redis.url.removeprefix("redis://").removesuffix("/0").split(":")
    await follower.replicaof(host, port)
    (warning,) = await check_redis(follower, replica.url)
    assert "replica" in warning

    async def followed() -> bool:
        return (await client.info("replication"))["connected_slaves"] == 1

    await wait_until(followed)
    (warning,) = await check_redis(client, own_redis.url)
    assert "min-replicas-to-write" in warning
    await client.aclose()
    await follower.aclose()
    replica.stop()


@pytest.mark.parametrize("version", ["6.0.16", "5.0.7", "2.8"])
async def test_a_redis_that_is_too_old_is_refused(version: str) -> None:
    """With the version wanted."""
    with pytest.raises(ConfigError, match=rf"{version}, at least 6\.2"):
        await check_redis(Says(redis_version=version), "redis://x")


async def test_who_finds_no_room_for_its_connections_does_not_start() -> None:
    """It is told before it has begun; what is left may be enough for another."""
    crowded = Says(maxclients=100, connected_clients=98)
    with pytest.raises(ConfigError, match=r"98 of at most 100 connections .*, 4 more are needed"):
        await check_redis(crowded, "redis://x", connections=4)
    (warning,) = await check_redis(crowded, "redis://x", connections=3)
    assert "may find none" in warning


async def test_redis_itself_says_how_many_connections_it_takes(own_redis: RedisServer) -> None:
    """In the answer that is asked for anyway."""
    client = open_redis(own_redis.url)
    await client.config_set("maxclients", 40)
    with pytest.raises(ConfigError, match="of at most 40 connections"):
        await check_redis(client, own_redis.url, connections=41)
    await client.aclose()
