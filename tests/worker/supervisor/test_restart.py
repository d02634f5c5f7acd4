"""The words for the end of a device process, and the waits before the next."""

from __future__ import annotations

import pytest

from worker.supervisor.restart import BATCH_STUCK, LOOP_STUCK, RestartBackoff, describe


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (-11, "its device process was killed by SIGSEGV"),
        (-9, "its device process was killed by SIGKILL"),
        (-99, "its device process was killed by signal 99"),
        (1, "its device process ended with status 1"),
        (LOOP_STUCK, "its device process ended with status 70: the event loop stood still"),
        (BATCH_STUCK, "its device process ended with status 71: a batch ran on past its deadline"),
    ],
)
def test_an_end_has_a_cause_in_words(status: int, said: str) -> None:
    """As requests that ran will tell it."""
    assert describe(status) == said


def test_the_first_restart_is_immediate_and_each_further_one_waits_longer() -> None:
    """Up to ten seconds."""
    backoff = RestartBackoff()
    assert [backoff.after(1.0) for _ in range(8)] == [0, 0.5, 1, 2, 4, 8, 10, 10]


def test_who_lived_long_is_restarted_at_once() -> None:
    """Its earlier crashes are forgotten."""
    backoff = RestartBackoff()
    for _ in range(5):
        backoff.after(1.0)
    assert backoff.after(30.0) == 0
    assert backoff.after(1.0) == 0.5


def test_ten_thousand_crashes_overflow_nothing() -> None:
    """The wait is bounded before it is computed."""
    assert RestartBackoff(crashes=10_000).after(0.0) == 10
