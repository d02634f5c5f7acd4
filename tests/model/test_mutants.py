"""The search finds planted faults: it would find what somebody slips in by mistake."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.local.redis_server import start_redis
from tests.model import mutants
from tests.model.explorer import Explorer, plan
from tests.model.planting import Planted
from tests.model.virtual import Mutant

MOST_RUNS = 2000  # Redis draws the order in which it lists members: runs are not quite the same


@pytest.fixture(scope="module")
def explorer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Explorer]:
    """On one version of Redis: what differs between versions is for the scripts as they are."""
    server = start_redis(tmp_path_factory.mktemp("mutants"), appendonly=False)
    opened = Explorer(server.url)
    yield opened
    opened.close()
    server.stop()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("planted", mutants.ALL, ids=lambda p: f"{p.mutant.file}-{p.name}")
def test_a_planted_fault_is_found(planted: Planted, explorer: Explorer) -> None:
    """Within a bounded number of runs, most in the first few."""
    explorer.plant(planted.mutant)
    found = any(explorer.run(plan(seed, planted.favour), seed) for seed in range(MOST_RUNS))
    assert found, f"not found in {MOST_RUNS} runs"


def test_a_fault_that_no_longer_fits_the_source_is_no_test(explorer: Explorer) -> None:
    """It is an error, not a fault that happens to be absent."""
    with pytest.raises(LookupError, match=r"place\.lua has changed"):
        explorer.plant(Mutant("place", "this was never there", ""))
