"""The search finds planted faults: it would find what somebody slips in by mistake."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.local.redis_server import RedisServer, start_redis
from tests.model import mutants
from tests.model.explorer import Explorer, plan
from tests.model.planting import Planted
from tests.model.virtual import Mutant

MOST_RUNS = 250


@pytest.fixture(scope="module")
def one_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Of one version: what differs between versions is for the scripts as they are."""
    server = start_redis(tmp_path_factory.mktemp("mutants"), appendonly=False)
    yield server
    server.stop()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("planted", mutants.ALL, ids=lambda p: f"{p.mutant.file}-{p.name}")
def test_a_planted_fault_is_found(planted: Planted, one_redis: RedisServer) -> None:
    """Within a bounded number of runs, most in the first few."""
    explorer = Explorer(one_redis.url, planted.mutant)
    try:
        found = any(explorer.run(plan(seed, planted.favour), seed) for seed in range(MOST_RUNS))
        assert found, f"not found in {explorer.steps} steps"
    finally:
        explorer.close()


def test_a_fault_that_no_longer_fits_the_source_is_no_test(one_redis: RedisServer) -> None:
    """It is an error, not a fault that happens to be absent."""
    with pytest.raises(LookupError, match=r"place\.lua has changed"):
        Explorer(one_redis.url, Mutant("place", "this was never there", ""))
