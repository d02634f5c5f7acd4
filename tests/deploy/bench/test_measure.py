"""Rounds, medians and spreads."""

from __future__ import annotations

from deploy.bench.measure import Pair, alternate, percentile, spread


def test_a_spread_is_the_median_between_the_lowest_and_the_highest() -> None:
    """Whatever the order of the values."""
    assert spread([9.0, 1.0, 4.0]) == (4.0, 1.0, 9.0)
    assert spread([4.0, 2.0]) == (3.0, 2.0, 4.0)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    """Nothing is interpolated, and the last one is the highest."""
    values = [float(value) for value in range(100, 0, -1)]
    assert percentile(values, 0.5) == 51.0
    assert percentile(values, 0.99) == 100.0
    assert percentile(values, 1.0) == 100.0
    assert percentile([7.0], 0.99) == 7.0


def test_ours_and_the_reference_take_turns_at_going_first() -> None:
    """So that a machine that slows down favours neither."""
    order: list[str] = []

    def ours() -> float:
        order.append("ours")
        return float(len(order))

    def reference() -> float:
        order.append("reference")
        return float(len(order))

    told: list[tuple[int, Pair]] = []
    pairs = alternate(3, ours, reference, lambda at, pair: told.append((at, pair)))
    assert order == ["ours", "reference", "reference", "ours", "ours", "reference"]
    assert pairs == [(1.0, 2.0), (4.0, 3.0), (5.0, 6.0)]
    assert told == list(enumerate(pairs))
