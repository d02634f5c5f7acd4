"""A Redis of its own for the simulation: it flushes it before each schedule."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.redis_server import start_redis
from tests.simulation.server import SimRedis


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimRedis]:
    """The Redis of all schedules of this run."""
    folder: Path = tmp_path_factory.mktemp("simulation")
    redis = start_redis(folder, appendonly=False)
    made = SimRedis(redis.url)
    yield made
    made.close()
    redis.stop()
