"""The caches that the churn is compared to."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.bench.caching import belady_loads, lru_loads, zipf_trace

TRACES = st.lists(st.integers(0, 5), max_size=14)


def fewest_loads(trace: list[int], capacity: int) -> int:
    """By trying every choice of what to throw out."""

    @cache
    def fewest(at: int, held: frozenset[int]) -> int:
        if at == len(trace):
            return 0
        if trace[at] in held:
            return fewest(at + 1, held)
        kept = [held - {gone} for gone in held] if len(held) == capacity else [held]
        return 1 + min(fewest(at + 1, left | {trace[at]}) for left in kept)

    return fewest(0, frozenset())


@pytest.mark.parametrize(
    ("trace", "capacity", "lru", "best"),
    [
        ([], 2, 0, 0),
        ([1, 1, 1], 1, 1, 1),
        ([1, 2, 1, 2], 1, 4, 4),
        ([1, 2, 3, 1, 2, 3], 2, 6, 4),
        ([1, 2, 3, 1, 2, 3], 3, 3, 3),
    ],
)
def test_loads_of_short_traces(trace: list[int], capacity: int, lru: int, best: int) -> None:
    """Counted by hand."""
    assert lru_loads(trace, capacity) == lru
    assert belady_loads(trace, capacity) == best


@given(trace=TRACES, capacity=st.integers(1, 4))
def test_no_cache_needs_fewer_loads_than_beladys(trace: list[int], capacity: int) -> None:
    """It is as good as trying everything, and LRU is never better."""
    best = belady_loads(trace, capacity)
    assert best == fewest_loads(trace, capacity)
    assert len(set(trace)) <= best <= lru_loads(trace, capacity) or not trace


def test_a_trace_is_that_of_its_seed() -> None:
    """Another seed gives another, of the same law: a few models get most requests."""
    trace = zipf_trace(100, 1.1, 2000, 7)
    assert trace == zipf_trace(100, 1.1, 2000, 7) != zipf_trace(100, 1.1, 2000, 8)
    assert set(trace) <= set(range(100))
    counts = [count for _, count in Counter(trace).most_common()]
    assert sum(counts[:10]) > len(trace) / 2
