"""A worker whose loads fail through its own fault takes orders ever more rarely."""

from __future__ import annotations

import pytest

from shared.errors import (
    BlobMissing,
    ChangedMeanwhile,
    Corrupt,
    DiskFull,
    Forbidden,
    LoadFailed,
    RepositoryError,
    StoreUnavailable,
    Untrusted,
    WarmrouteError,
)
from tests.worker.health.conftest import Clock
from worker.health.load_gate import FIRST_S, LONGEST_S, LoadGate, is_local


def test_without_failures_it_is_open(time: Clock) -> None:
    """Beside other loads too."""
    assert LoadGate().is_open(7)


def test_each_failure_shuts_it_for_twice_as_long_and_then_one_load_is_the_trial(
    time: Clock,
) -> None:
    """Up to half a minute."""
    gate, shut = LoadGate(), []
    for _ in range(9):
        gate.failed("full")
        begun = time.now
        while not gate.is_open(0):
            time.sleep(0.25)
        assert not gate.is_open(1)
        shut.append(time.now - begun)
    assert shut == [0.5, 1, 2, 4, 8, 16, LONGEST_S, LONGEST_S, LONGEST_S]


def test_a_success_opens_it(time: Clock) -> None:
    """And ends the row."""
    gate = LoadGate()
    gate.failed("full"), gate.failed("full")
    assert gate.suspect and not gate.is_open(0)
    gate.succeeded()
    assert gate.is_open(7) and not gate.suspect and gate.reason == ""


def test_when_all_tests_pass_the_trial_need_not_wait(time: Clock) -> None:
    """But the row goes on: the next failure shuts it for longer."""
    gate = LoadGate()
    gate.failed("full"), gate.failed("full")
    gate.reopen()
    assert gate.is_open(0) and not gate.is_open(1)
    gate.failed("full")
    time.sleep(FIRST_S * 2)
    assert not gate.is_open(0)


def lasting() -> DiskFull:
    error = DiskFull("more than the whole budget")
    error.retryable = False
    return error


@pytest.mark.parametrize(
    ("error", "local"),
    [
        (DiskFull("d"), True), (Forbidden("f"), True), (StoreUnavailable("s"), True),
        (RepositoryError("Input/output error"), True), (lasting(), False),
        (Corrupt("c"), False), (BlobMissing("b"), False), (ChangedMeanwhile("c"), False),
        (Untrusted("u"), False), (LoadFailed("no such operator"), False),
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_charged_to_the_worker(error: WarmrouteError, local: bool) -> None:
    """What a model or a setting causes does not shut the gate for other models."""
    assert is_local(error) is local
