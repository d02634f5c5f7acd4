"""Bounds on Redis's clock: only what is certain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import clock
from worker.serving.redis_clock import BELIEVED_S, MARGIN_MS, RedisClock


class Time:
    """This process's clock, in the test's hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(clock, "monotonic", made)
    return made


def test_before_the_first_answer_nothing_is_certain(time: Time) -> None:
    """Not even that the year 3084 is far away."""
    assert not RedisClock().certainly_before(1 << 45)


def test_a_deadline_beyond_the_margin_is_surely_not_reached(time: Time) -> None:
    """A nearer one may be: the answer may have been under way so long."""
    redis = RedisClock()
    redis.observe(5_000_000)
    assert redis.certainly_before(5_000_001 + MARGIN_MS)
    assert not redis.certainly_before(5_000_000 + MARGIN_MS)
    time.now += 1
    assert not redis.certainly_before(5_000_001 + MARGIN_MS)


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), min_size=1))
def test_a_deadline_has_passed_when_it_is_said_to(answers: list[tuple[int, int]]) -> None:
    """However long the answers were under way, with both clocks going alike."""
    time, redis, ahead_ms = Time(), RedisClock(), 7_000_000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "monotonic", time)
        for pause_ms, delay_ms in answers:
            time.now += (pause_ms + delay_ms) / 1000
            redis.observe(round(time.now * 1000) + ahead_ms - delay_ms)
        deadline_ms = round(time.now * 1000) + ahead_ms + 60_000
        assert redis.local_deadline(deadline_ms) * 1000 + ahead_ms >= deadline_ms - 1


def test_a_clock_that_was_set_back_is_believed_after_a_while(time: Time) -> None:
    """Another Redis took over, whose clock is behind: what was known of the first one goes."""
    redis = RedisClock()
    redis.observe(5_000_000)
    time.now += BELIEVED_S + 1
    redis.observe(1_000_000)
    assert redis.local_deadline(1_000_500) == pytest.approx(time.now + 0.5)
    assert not redis.certainly_before(1_000_000 + MARGIN_MS)
