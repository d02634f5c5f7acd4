"""What every test may ask for: a real Redis, and in it a cell of its own that leaks no keys."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from deploy.local.redis_server import RedisServer, start_redis
from shared.keys import Keys
from tests.helpers.cell import Cell, open_cell
from tests.helpers.leaks import forget_cell, leaked_keys
from tests.helpers.redis_versions import binary_of, chosen_versions
from tests.tiers import NAMES as TIER_NAMES
from tests.tiers import tier_of, together

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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of the scripts run on the versions of Redis that are asked for."""
    folder = _inside(metafunc.definition.path).parts[0]
    versions = chosen_versions()
    if folder in ("lua", "model") and versions and "redis_binary" in metafunc.fixturenames:
        metafunc.parametrize("redis_binary", versions, indirect=True, scope="session")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--tiers unit,scripts` runs these tiers alone; without it every test runs."""
    parser.addoption("--tiers", default=",".join(TIER_NAMES), help=f"of {', '.join(TIER_NAMES)}")


def pytest_configure(config: pytest.Config) -> None:
    """A tier that does not exist would run nothing and pass."""
    if unknown := set(_tiers(config)) - set(TIER_NAMES):
        raise pytest.UsageError(f"--tiers {','.join(unknown)}: want some of {TIER_NAMES}")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files of other tiers are not imported, unless they may hold tests that are marked slow."""
    tiers = _tiers(config)
    if not collection_path.match("test_*.py") or "prove" in tiers:
        return None
    return tier_of(_inside(collection_path).as_posix()) not in tiers or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of the tiers that are asked for, those that take longest first."""
    tiers = {item: _tier(item) for item in items}
    others = [item for item in items if tiers[item] not in _tiers(config)]
    config.hook.pytest_deselected(items=others)
    kept = [item for item in items if tiers[item] in _tiers(config)]
    items[:] = sorted(kept, key=lambda item: -TIER_NAMES.index(tiers[item]))


def _tier(item: pytest.Item) -> str:
    return "prove" if "slow" in item.keywords else tier_of(_inside(item.path).as_posix())


def _tiers(config: pytest.Config) -> list[str]:
    return str(config.getoption("--tiers")).split(",")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Hand the tests out by file, in the order above (tests/tiers.py says which test by test)."""
    config.option.loadscopereorder = False
    return ByServers(config, log)


class ByServers(LoadScopeScheduling):  # type: ignore[misc] # xdist ships no types
    """Tests that share servers run in one process."""

    def _split_scope(self, nodeid: str) -> str:
        return together(nodeid)


def _inside(path: Path) -> Path:
    return path.relative_to(Path(__file__).parent)


@pytest.fixture(scope="session")
def redis_binary(request: pytest.FixtureRequest) -> Path | None:
    """The redis-server to start, None for the one that the product finds."""
    version = getattr(request, "param", None)
    return binary_of(version) if version else None


@pytest.fixture(scope="session")
def redis_server(
    tmp_path_factory: pytest.TempPathFactory, redis_binary: Path | None
) -> Iterator[RedisServer]:
    """One Redis for all tests, on a free port of loopback. It must not be stopped or flushed."""
    server = start_redis(tmp_path_factory.mktemp("redis"), appendonly=False, binary=redis_binary)
    yield server
    server.stop()


@pytest.fixture
def own_redis(tmp_path: Path, redis_binary: Path | None) -> Iterator[RedisServer]:
    """A Redis for one test alone, which may fill, flush or stop it."""
    server = start_redis(tmp_path / "redis", appendonly=False, binary=redis_binary)
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
