"""A short chaos run with everything in it; `make chaos MINUTES=10` is the long one.

The seed is the day's, so that every run of a day has the same faults. WARMROUTE_TEST_SEED=n takes
another one.
"""

from __future__ import annotations

import asyncio
import datetime
import os
from pathlib import Path

import pytest

from tests.chaos.ground import Ground
from tests.chaos.run import Plan, run
from tests.chaos.schedule import other_faults, worker_faults

SECONDS = 40.0
TODAY = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d")
SEED = int(os.environ.get("WARMROUTE_TEST_SEED") or TODAY)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_accepted_is_lost_or_answered_twice_whatever_dies(tmp_path: Path) -> None:
    """Workers and gateways die, leave and stand still, Redis restarts, networks are cut, and a
    request crashes whoever runs it: all that was accepted ends once, with the right answer."""
    with Ground(tmp_path / "chaos") as ground:
        plan = Plan(
            SEED,
            lambda g, history: [worker_faults(g, history), other_faults(g)],
            SECONDS,
            kills=1,  # a slow machine and some days' seeds come to the first one late
        )
        report = asyncio.run(run(ground, plan))
    print("\n".join(report.lines()))
    assert report.wrong == [], f"seed {SEED}"
    assert report.counts["succeeded"] > 0
    assert report.kills > 0
