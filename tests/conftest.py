"""What every test may ask for: a real Redis, and in it a cell of its own that leaks no keys."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from deploy.local.redis_server import RedisServer, start_redis
from shared.keys import Keys
from tests.helpers.cell import Cell, open_cell
from tests.helpers.leaks import forget_cell, leaked_keys

# A machine shared with others is slow now and then: that is no failure of what is tested.
settings.register_profile(
    "warmroute", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("warmroute")

# RQ reads its key prefix once, when it is imported: tests that run RQ in this process share a
# cell's name. Processes that tests start must not inherit it.
RQ_CELL = "rq-tests"
with pytest.MonkeyPatch.context() as _patch:
    _patch.setenv("RQ_KEY_PREFIX", Keys(RQ_CELL).rq_prefix)
    import rq.defaults


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis for all tests, on a free port of loopback. It must not be stopped or flushed."""
    server = start_redis(tmp_path_factory.mktemp("redis"), appendonly=False)
    yield server
    server.stop()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis for one test alone, which may fill, flush or stop it."""
    server = start_redis(tmp_path / "redis", appendonly=False)
    yield server
    server.stop()


@pytest.fixture
async def cell(redis_server: RedisServer) -> AsyncIterator[Cell]:
    """A fresh cell. After the test no key without a lifetime is left, but those that may last."""
    async for opened in _cell(redis_server.url, f"t{secrets.token_hex(6)}"):
        yield opened


@pytest.fixture
async def rq_cell(redis_server: RedisServer) -> AsyncIterator[Cell]:
    """A cell whose orders RQ, in this process, can see."""
    assert Keys(RQ_CELL).rq_prefix == rq.defaults.RQ_KEY_PREFIX, "RQ was imported too early"
    async for opened in _cell(redis_server.url, RQ_CELL):
        yield opened


async def _cell(url: str, name: str) -> AsyncIterator[Cell]:
    opened = open_cell(url, name)
    await forget_cell(opened.client, opened.keys)
    try:
        yield opened
        assert await leaked_keys(opened.client, opened.keys) == []
    finally:
        await forget_cell(opened.client, opened.keys)
        await opened.close()
