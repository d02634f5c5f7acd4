"""Requests completed per second, lately."""

from __future__ import annotations

import pytest

from shared import clock
from worker.serving.rate import Rate


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The moment that the clock shows, to be set."""
    moment = [0.0]
    monkeypatch.setattr(clock, "monotonic", lambda: moment[0])
    return moment


def test_a_steady_rate_is_told_and_forgotten_when_it_ends(now: list[float]) -> None:
    """Within a few times five seconds either way."""
    rate = Rate()
    for second in range(1, 41):
        now[0] = second
        found = rate.at(100 * second)
    assert found == pytest.approx(100, rel=0.01)
    now[0] += 40
    assert rate.at(4000) < 1


def test_asking_twice_at_the_same_moment_changes_nothing(now: list[float]) -> None:
    """The second has seen no time pass."""
    rate = Rate()
    now[0] = 1.0
    first = rate.at(10)
    assert rate.at(10) == first > 0
