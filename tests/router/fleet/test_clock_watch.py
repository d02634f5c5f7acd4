"""Leaps of Redis's clock are told from outages by a clock that only goes forward."""

from __future__ import annotations

import pytest

from router.fleet.clock_watch import PATIENCE_MS, ClockWatch, Reading

LEAPS = [600_000, -600_000, 2000, -2000]


def read(at_ms: float, ahead_ms: float = 0, took_ms: float = 2) -> Reading:
    """An answer that Redis gave at `at_ms`, in the middle of its way."""
    return Reading(at_ms + ahead_ms, at_ms - took_ms / 2, at_ms + took_ms / 2)


@pytest.fixture
def watch() -> ClockWatch:
    watch = ClockWatch()
    watch.explained(read(1000))
    return watch


@pytest.mark.parametrize("away_ms", [1500, 8000, 600_000])
def test_time_that_passed_here_too_is_no_leap(watch: ClockWatch, away_ms: float) -> None:
    """However long Redis was away."""
    assert watch.leap("m", read(1000 + away_ms)) == 0


@pytest.mark.parametrize("leap_ms", LEAPS)
@pytest.mark.parametrize("away_ms", [400, 8000])
def test_a_leap_is_found_whatever_the_outage(
    watch: ClockWatch, leap_ms: float, away_ms: float
) -> None:
    """A failover: Redis was away, and comes back with another clock. What is found is never less
    than the leap, and hardly more."""
    found = watch.leap("m", read(1000 + away_ms, leap_ms))
    assert found is not None and leap_ms <= found <= leap_ms + 5


def test_an_answer_that_took_long_is_not_exact_enough(watch: ClockWatch) -> None:
    """The next one may be. If none is for a while, the best guess counts."""
    assert watch.leap("m", read(8000, 600_000, 6000)) is None
    assert watch.leap("m", read(12_000, 600_000)) in range(600_000, 600_010)
    assert watch.leap("n", read(20_000, 600_000, 900)) is None
    late = watch.leap("n", read(20_000 + PATIENCE_MS, 600_000, 900))
    assert late is not None and 600_000 <= late <= 601_000


def test_a_gateway_that_has_just_started_leaves_it_to_the_others() -> None:
    """Unless there are none: then nobody was there, and time has passed."""
    watch = ClockWatch()
    assert watch.leap("m", read(1000)) is None
    assert watch.leap("m", read(900 + PATIENCE_MS)) is None
    assert watch.leap("n", read(1100 + PATIENCE_MS)) is None
    assert watch.leap("n", read(1100 + 2 * PATIENCE_MS)) == 0


@pytest.mark.parametrize("leap_ms", LEAPS)
def test_a_gateway_that_has_just_started_says_what_it_has_seen_itself(leap_ms: float) -> None:
    """Redis's clock leaps before anybody has explained what was there when it started."""
    watch = ClockWatch()
    assert watch.leap("m", read(1000)) is None
    assert watch.leap("m", read(2000, leap_ms)) is None
    found = watch.leap("m", read(1100 + PATIENCE_MS, leap_ms))
    assert found is not None and leap_ms <= found <= leap_ms + 5
