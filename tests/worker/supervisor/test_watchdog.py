"""Stuck event loops and stuck batches are found, and nothing else is taken for one."""

from __future__ import annotations

import logging

import pytest

from shared import clock
from worker.supervisor.progress import Progress
from worker.supervisor.restart import BATCH_STUCK, DEVICE_LOST, LOOP_STUCK
from worker.supervisor.watchdog import SELF_TEST_S, StallDetector, Watchdog

LONG_AGO = 0.0


@pytest.fixture
def progress() -> Progress:
    return Progress()


@pytest.fixture
def watchdog(progress: Progress) -> Watchdog:
    """One that looks each second; 30 s for the loop, 10 s for a batch."""
    return Watchdog(progress, tick_s=1.0, stuck_s=30, patience_s=10)


def first_verdict(watchdog: Watchdog, looks: int, turns: int | None = None) -> tuple[int, int]:
    """(number of looks, exit status) of the first verdict, (0, 0) if there is none."""
    for look in range(1, looks + 1):
        if status := watchdog.check(look if turns is None else turns):
            return look, status
    return 0, 0


def test_an_event_loop_that_turns_is_not_stuck(watchdog: Watchdog) -> None:
    """However long."""
    assert first_verdict(watchdog, 200) == (0, 0)


def test_an_event_loop_that_stands_still_is_shown_and_then_ended(
    watchdog: Watchdog, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """After five seconds its stacks are logged, once; after the set time the process ends."""
    with caplog.at_level(logging.WARNING):
        assert first_verdict(watchdog, 30, turns=1) == (0, 0)
        assert [r.levelname for r in caplog.records] == ["WARNING"]
        assert "first_verdict" in capfd.readouterr().err
        assert watchdog.check(1) == 0 and watchdog.check(1) == LOOP_STUCK


def test_it_is_shown_again_when_it_stands_still_again(
    watchdog: Watchdog, caplog: pytest.LogCaptureFixture
) -> None:
    """Each time once."""
    for turn in (1, 2):
        assert first_verdict(watchdog, 10, turns=turn) == (0, 0)
    assert len(caplog.records) == 2


def test_a_batch_past_its_deadline_that_never_ends_is_found(
    watchdog: Watchdog, progress: Progress
) -> None:
    """Once it has run for the patience of ten looks after the first."""
    progress.start(5, LONG_AGO)
    assert first_verdict(watchdog, 50) == (11, BATCH_STUCK)


def test_a_long_batch_within_its_deadline_is_let_run(
    watchdog: Watchdog, progress: Progress
) -> None:
    """A slow model is no stuck one."""
    progress.start(5, clock.monotonic() + 3600)
    assert first_verdict(watchdog, 500) == (0, 0)


def test_short_batches_past_their_deadlines_are_no_stuck_one(
    watchdog: Watchdog, progress: Progress
) -> None:
    """A caller with little time, or the end of a pause, ends no process."""
    for batch in range(1, 100):
        progress.start(batch, LONG_AGO)
        assert watchdog.check(batch) == 0
        progress.end()


def test_a_device_that_does_not_answer_its_self_test_is_lost(
    watchdog: Watchdog, progress: Progress
) -> None:
    """Before its batch counts as stuck, and however long that may run."""
    progress.start(5, clock.monotonic() + 3600)
    progress.start_test()
    assert first_verdict(watchdog, 50) == (SELF_TEST_S + 1, DEVICE_LOST)


def test_many_self_tests_are_no_stuck_one(watchdog: Watchdog, progress: Progress) -> None:
    """A model that fails again and again has as many."""
    for turn in range(1, 200):
        progress.start_test()
        assert watchdog.check(turn) == 0
        progress.end_test()


def test_stall_counts_the_observers_own_ticks() -> None:
    """And begins anew with each change, or when told to."""
    stall = StallDetector(0.5)
    assert [stall.observe(1) for _ in range(3)] == [0, 0.5, 1]
    assert stall.observe(2) == 0
    stall.observe(2)
    stall.reset()
    assert stall.observe(2) == 0.5
