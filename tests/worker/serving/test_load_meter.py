"""Device time per request and model, and requests per second, over the last seconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import clock
from worker.serving.load_meter import CompletionRate, Meter


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The moment that the clock shows, to be set."""
    moment = [100.0]
    monkeypatch.setattr(clock, "monotonic", lambda: moment[0])
    return moment


def use(meter: Meter, now: list[float], ref: str, seconds: float, requests: int, until: float):
    """Calls of `seconds` for `requests` each, one after the other."""
    while now[0] < until:
        now[0] += seconds
        meter.add(ref, seconds, requests)


def test_a_request_takes_its_part_of_a_batch(now: list[float]) -> None:
    """Milliseconds of device time; 0 as long as nobody knows."""
    meter = Meter()
    assert meter.service_ms == 0
    meter.add("a", 0.08, 8)
    assert meter.service_ms == pytest.approx(10)


def test_what_requests_take_now_counts_more_than_what_they_took(now: list[float]) -> None:
    """A few seconds of use later the old figure is forgotten; idle time forgets nothing."""
    meter = Meter()
    use(meter, now, "a", 0.01, 1, until=110)
    now[0] += 3600
    assert meter.service_ms == pytest.approx(10)
    use(meter, now, "a", 0.05, 1, until=now[0] + 10)
    assert meter.service_ms == pytest.approx(50, rel=0.1)


def test_time_without_an_answer_makes_requests_dearer(now: list[float]) -> None:
    """A batch that failed and ran again took both."""
    meter = Meter()
    meter.add("a", 0.01, 0)
    meter.add("a", 0.01, 4)
    assert meter.service_ms == pytest.approx(5, rel=0.01)
    assert meter.hits("a") == 4


def test_a_device_that_always_computes_is_busy_all_the_time(now: list[float]) -> None:
    """However long its calls are; each model has its share. Idle, both are forgotten."""
    meter = Meter()
    for _ in range(20):
        use(meter, now, "a", 0.75, 1, until=now[0] + 0.75)
        use(meter, now, "b", 0.25, 1, until=now[0] + 0.25)
    assert meter.busy == pytest.approx(1, abs=0.01)
    assert meter.share("a") == pytest.approx(0.75, abs=0.1)
    assert meter.share("b") == pytest.approx(0.25, abs=0.1)
    now[0] += 30
    assert meter.busy < 0.001 and meter.share("a") < 0.001


def test_a_device_that_computes_now_and_then_is_a_little_busy(now: list[float]) -> None:
    """A tenth of the time."""
    meter = Meter()
    for _ in range(200):
        now[0] += 0.09
        use(meter, now, "a", 0.01, 1, until=now[0] + 0.01)
    assert meter.busy == pytest.approx(0.1, rel=0.05)


def test_a_copy_that_was_freed_begins_anew(now: list[float]) -> None:
    """What nobody has loaded has no hits and no share."""
    meter = Meter()
    meter.add("a", 1.0, 2)
    meter.forget("a")
    meter.forget("never there")
    assert (meter.hits("a"), meter.share("a")) == (0, 0)
    assert meter.busy > 0


@given(
    st.lists(
        st.tuples(st.floats(0, 50), st.floats(0, 50), st.sampled_from("abc"), st.integers(0, 9))
    )
)
def test_shares_are_shares_and_add_up(calls: list[tuple[float, float, str, int]]) -> None:
    """Whatever ran, and however long nothing did: at most 1, together what is busy."""
    moment = 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "monotonic", lambda: moment)
        meter = Meter()
        for idle, seconds, ref, requests in calls:
            moment += idle + seconds
            meter.add(ref, seconds, requests)
            shares = [meter.share(each) for each in "abc"]
            assert all(0 <= share <= 1 for share in shares)
            assert sum(shares) == pytest.approx(meter.busy, abs=1e-6)


def test_a_steady_rate_is_shown_and_fades_when_it_ends(now: list[float]) -> None:
    """Within a few times five seconds either way."""
    rate = CompletionRate()
    for second in range(1, 41):
        now[0] += 1
        found = rate.at(100 * second)
    assert found == pytest.approx(100, rel=0.01)
    now[0] += 40
    assert rate.at(4000) < 1


def test_reading_the_rate_twice_at_the_same_moment_changes_nothing(now: list[float]) -> None:
    """The second has seen no time pass."""
    rate = CompletionRate()
    now[0] += 1
    first = rate.at(10)
    assert rate.at(10) == first > 0
