"""What is kept of the looks at the residency."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.bench.measure import BenchError
from deploy.bench.observer import Observed


def worker(name: str, used: int, *models: str, tier: str = "device") -> dict[str, Any]:
    rows = [{"name": model, "tier": tier} for model in models]
    return {"id": name, "used_bytes": used, "budget_bytes": 100, "models": rows}


def test_the_fullest_moment_and_the_most_copies_are_kept() -> None:
    """Of all looks; `now` is the last one. Only what is on a device is a copy."""
    seen = Observed()
    seen.look([worker("w1", 60, "a"), worker("w2", 95, "a", "b")])
    seen.look([worker("w1", 10, "a"), worker("w2", 0, "a", tier="host")])
    seen.check()
    assert (seen.looks, seen.fullest) == (2, 0.95)
    assert seen.copies == {"a": 2, "b": 1}
    assert seen.now == {"a": 1}


def test_a_budget_that_was_exceeded_once_is_an_error() -> None:
    """Also when all is well again later."""
    seen = Observed()
    seen.look([worker("w1", 101)])
    seen.look([worker("w1", 10)])
    with pytest.raises(BenchError, match="w1 used 101 of 100 bytes"):
        seen.check()


def test_an_observer_that_saw_nothing_has_shown_nothing() -> None:
    """It does not count as a budget that was kept."""
    with pytest.raises(BenchError, match="not seen once"):
        Observed().check()
