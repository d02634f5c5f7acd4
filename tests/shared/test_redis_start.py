"""A process that starts while Redis cannot be used waits for it for some seconds."""

from __future__ import annotations

import asyncio

import pytest

from deploy.local.redis_server import RedisServer
from shared import redis_start
from shared.connection import open_redis
from shared.errors import ConfigError
from shared.redis_start import first_info
from tests.helpers.cell import Cell
from tests.helpers.proxy import Proxy


async def test_a_redis_that_is_back_within_seconds_is_used(cell: Cell) -> None:
    """The process does not end."""
    async with Proxy.to(cell.url) as proxy:
        proxy.refusing = True
        client = open_redis(proxy.url)
        waiting = asyncio.create_task(first_info(client, proxy.url))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        proxy.refusing = False
        assert (await waiting)["redis_version"]
        await client.aclose()


@pytest.mark.parametrize("password", ["", "secret"])
async def test_a_redis_without_free_connections_says_so(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    """Also to a client that has sent its password before the refusal arrives."""
    monkeypatch.setattr(redis_start, "TRY_S", 0.3)
    admin = open_redis(own_redis.url)
    await admin.config_set("maxclients", 1)
    url = own_redis.url.replace("redis://", f"redis://:{password}@" if password else "redis://")
    client = open_redis(url)
    with pytest.raises(ConfigError, match="it has as many connections as it takes"):
        await first_info(client, url)
    await admin.config_set("maxclients", 100)
    await client.aclose()
    await admin.aclose()


@pytest.mark.parametrize(
    ("password", "reason"),
    [(":wrong@", "invalid username-password pair"), ("", "Authentication required")],
)
async def test_a_wrong_or_missing_password_ends_it_at_once(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, password: str, reason: str
) -> None:
    """It would not be right a second later. The reason says which of the two it is."""
    monkeypatch.setattr(redis_start, "TRY_S", 3600.0)
    admin = open_redis(own_redis.url)
    await admin.config_set("requirepass", "right")
    url = own_redis.url.replace("redis://", f"redis://{password}")
    client = open_redis(url)
    async with asyncio.timeout(60):
        with pytest.raises(ConfigError, match=f"cannot be used: {reason}"):
            await first_info(client, url)
    await client.aclose()
    await admin.aclose()
