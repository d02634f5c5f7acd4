"""Rounds, medians and spreads. Ours and the reference take turns, so that both meet the same noise.

A machine that slows down over minutes would favour what is measured first: the order changes each
round, and ratios are taken within a round before their median is.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple


class BenchError(Exception):
    """A figure could not be measured: a wrong answer, a failed request. The message says which."""


class Spread(NamedTuple):
    """A median with the lowest and the highest value seen."""

    median: float
    low: float
    high: float


class Pair(NamedTuple):
    """What one round measured."""

    ours: float
    reference: float


Report = Callable[[int, Pair], None]


def spread(values: Sequence[float]) -> Spread:
    """Median, lowest and highest of at least one value."""
    return Spread(statistics.median(values), min(values), max(values))


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of `values` do not exceed: the nearest that was measured."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def alternate(
    rounds: int,
    ours: Callable[[], float],
    reference: Callable[[], float],
    report: Report = lambda number, pair: None,
) -> list[Pair]:
    """Measure both in each round, ours first in the first, third, ... and second in the others.
    `report` gets each round when it is over."""
    pairs = []
    for number in range(rounds):
        if number % 2 == 0:
            mine = ours()
            pair = Pair(mine, reference())
        else:
            theirs = reference()
            pair = Pair(ours(), theirs)
        pairs.append(pair)
        report(number, pair)
    return pairs
