"""When failures of a worker count as its own, although no self-test shows it."""

from __future__ import annotations

import pytest

from tests.worker.health.conftest import Clock
from worker.health.failure_row import FRESH_S, LASTING_S, MANY, NEVER, SEVERAL, FailureRow

REFS = tuple(f"m{n}:1:aa" for n in range(SEVERAL))


def fail(row: FailureRow, time: Clock, *refs: str, tries: int = MANY, succeeded: float = NEVER,
         lasting: float = LASTING_S) -> None:  # fmt: skip
    """So many tries, of these models in turn, so far apart that the last ends the time."""
    for number in range(tries):
        row.failed(refs[number % len(refs)], succeeded)
        time.sleep(lasting / (tries - 1))
    time.sleep(-lasting / (tries - 1))


def test_many_tries_of_several_models_over_minutes_are_a_lasting_row(time: Clock) -> None:
    """With what failed, and since when."""
    row = FailureRow(loads=True)
    fail(row, time, *REFS)
    time.sleep(7)
    assert row.lasting(NEVER) == (True, REFS, MANY, pytest.approx(LASTING_S + 7))


@pytest.mark.parametrize(
    ("refs", "tries", "lasting"),
    [(REFS[:1], MANY * 9, LASTING_S), (REFS, MANY - 1, LASTING_S), (REFS, MANY * 9, LASTING_S - 1)],
    ids=["one model", "few tries", "not for long"],
)
def test_less_is_not(time: Clock, refs: tuple[str, ...], tries: int, lasting: float) -> None:
    """One model may be the cause, and an outage may pass."""
    row = FailureRow(loads=True)
    fail(row, time, *refs, tries=tries, lasting=lasting)
    assert row.lasting(NEVER) is None


def test_the_time_to_the_last_failure_counts_not_the_time_without_requests(time: Clock) -> None:
    """A worker that is not asked fails nothing."""
    row = FailureRow(loads=False)
    fail(row, time, *REFS, lasting=1)
    time.sleep(LASTING_S * 10)
    assert row.lasting(NEVER) is None


def test_a_success_ends_it(time: Clock) -> None:
    """Of its kind, or a call of any model since its first failure; then it begins anew."""
    row = FailureRow(loads=True)
    fail(row, time, *REFS)
    assert row.lasting(time.now - LASTING_S - 1) is not None
    assert row.lasting(time.now - 1) is None and not row.is_suspicious(time.now - 1)
    row.failed(REFS[0], time.now - 1)
    assert row.lasting(NEVER) is None
    fail(row, time, *REFS)
    row.end()
    assert row.lasting(NEVER) is None


def test_a_few_failures_of_several_models_are_suspicious_for_a_minute(time: Clock) -> None:
    """Then it is asked again, which shows whether they go on."""
    row = FailureRow(loads=True)
    fail(row, time, *REFS, tries=2 * SEVERAL - 1, lasting=1)
    assert not row.is_suspicious(NEVER)
    row.failed(REFS[0], NEVER)
    assert row.is_suspicious(NEVER)
    time.sleep(FRESH_S)
    assert not row.is_suspicious(NEVER)


def test_one_model_is_never_suspicious(time: Clock) -> None:
    """However often it fails."""
    row = FailureRow(loads=False)
    fail(row, time, REFS[0], tries=100, lasting=1)
    assert not row.is_suspicious(NEVER)
