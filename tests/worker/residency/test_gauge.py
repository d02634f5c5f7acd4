"""What a load, an unload or a run changes on the device: measured, or not told at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.residency.gauge import NOISE, Gauge, Span, own_bytes

MIB = 1 << 20


class Bench:
    """A gauge of bytes that a test sets."""

    def __init__(self) -> None:
        self.live: int | None = 100 * MIB
        self.inflight = 0
        self.gauge = Gauge(lambda: self.live, lambda: self.inflight)

    def begun(self, look: bool = True) -> Span:
        span = Span()
        self.gauge.begin(span, look)
        return span

    def add(self, size: int) -> None:
        assert self.live is not None
        self.live += size


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_a_load_adds_is_measured(bench: Bench) -> None:
    """But for requests that were taken in meanwhile."""
    span = bench.begun()
    bench.add(40 * MIB)
    bench.inflight = 5 * MIB
    bench.add(5 * MIB)
    assert bench.gauge.end(span) == 40 * MIB
    assert bench.gauge.quiet


@pytest.mark.parametrize("look", [True, False])
@pytest.mark.parametrize("first_ends_first", [True, False])
def test_of_two_that_overlap_neither_is_told(
    bench: Bench, look: bool, first_ends_first: bool
) -> None:
    """Whoever began first, and whether or not the other is measured itself."""
    first, second = bench.begun(), bench.begun(look)
    bench.add(40 * MIB)
    ending = (first, second) if first_ends_first else (second, first)
    assert [bench.gauge.end(span) for span in ending] == [None, None]
    third = bench.begun()
    bench.add(7)
    assert bench.gauge.end(third) == 7


def test_one_that_is_given_up_hinders_nobody(bench: Bench) -> None:
    """Also when it is given up before the device thread comes to its begin."""
    given_up = Span()
    bench.gauge.close(given_up)
    bench.gauge.begin(given_up)
    assert bench.gauge.quiet
    failed = bench.begun()
    bench.gauge.close(failed)
    assert bench.gauge.end(failed) is None and bench.gauge.quiet


def test_a_call_that_raises_ends_its_measuring(bench: Bench) -> None:
    """Its exception is the caller's."""

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        bench.gauge.measure(fail)
    assert bench.gauge.quiet
    assert bench.gauge.measure(lambda: bench.add(-30 * MIB)) == -30 * MIB


def test_a_device_that_cannot_tell_measures_nothing(bench: Bench) -> None:
    """Then the runtime's own figure stands."""
    bench.live = None
    assert not bench.gauge.can_measure
    assert bench.gauge.end(bench.begun()) is None


@pytest.mark.parametrize(
    ("certain", "change", "learned", "own"),
    [
        (17 * MIB, 49 * MIB, None, 49 * MIB),
        (17 * MIB, 49 * MIB, 20 * MIB, 49 * MIB),
        (17 * MIB, 17 * MIB + NOISE, None, 17 * MIB),
        (17 * MIB, -5 * MIB, None, 17 * MIB),  # a neighbour freed something
        (17 * MIB, None, None, 17 * MIB),
        (17 * MIB, None, 49 * MIB, 49 * MIB),  # it was measured before
        (17 * MIB, None, 5 * MIB, 17 * MIB),
        (17 * MIB, 18 * MIB, 49 * MIB, 18 * MIB),  # it takes less than it did
    ],
)
def test_the_measured_counts_but_never_less_than_the_weights(
    certain: int, change: int | None, learned: int | None, own: int
) -> None:
    """Without a measurement what was learned stands."""
    assert own_bytes(certain, change, learned) == own


@given(
    st.integers(0, 1 << 40), st.none() | st.integers(-(1 << 40), 1 << 40),
    st.none() | st.integers(0, 1 << 40),
)  # fmt: skip
def test_no_figure_is_below_what_is_certain(
    certain: int, change: int | None, learned: int | None
) -> None:
    """Nor above all that anybody has ever said."""
    own = own_bytes(certain, change, learned)
    assert certain <= own <= max(certain, change or 0, learned or 0)
