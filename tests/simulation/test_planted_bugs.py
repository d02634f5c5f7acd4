"""The simulation can fail: with one of these bugs planted it finds a broken rule soon."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.simulation.planted import LEADS, PLANTED
from tests.simulation.server import SimRedis
from tests.simulation.simulate import simulate

MOST_SEEDS = 300
FOUND_BEFORE = (0, 1, 3, 2, 24)  # what found them last time comes first


@pytest.fixture(autouse=True)
def own_loop() -> Iterator[None]:
    """Schedules bring their own event loop."""
    yield
    asyncio.set_event_loop(None)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(
    server: SimRedis, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Within some seeds."""
    plant, rules = PLANTED[name]
    plant(monkeypatch)
    for seed in dict.fromkeys([*FOUND_BEFORE, *range(MOST_SEEDS)]):
        broken = [
            text.partition(":")[0]
            for text in simulate(seed, server, LEADS.get(name, ())).violations
        ]
        if set(broken) & set(rules.split()):
            print(f"seed {seed}: {broken[0]}")
            return
    pytest.fail(f"{MOST_SEEDS} schedules did not find it")
