"""Healthy, suspect or sick, and why (I39)."""

from __future__ import annotations

from shared import statuses
from tests.worker.health.conftest import Clock
from worker.health.calls import IN_A_ROW
from worker.health.health import DISK, DISK_SICK_S, MAX_REASON, Health, State

PASSED = {DISK: "", "store": "", "clock": ""}


def prove(health: Health, *refs: str) -> None:
    """Calls of these fail that have succeeded before."""
    for ref in refs:
        for _ in range(IN_A_ROW):
            health.calls.failed(ref)
        health.calls.tried(ref, False)


def test_one_failed_load_is_no_suspicion_and_two_in_a_row_are(time: Clock) -> None:
    """With the reason of the last."""
    health = Health()
    health.gate.failed("the disk is full")
    assert health.state == State() and health.testing
    health.gate.failed("the disk is full")
    assert health.state == State(statuses.SUSPECT, "its loads fail: the disk is full")


def test_a_test_that_fails_makes_it_suspect_for_as_long_as_it_fails(time: Clock) -> None:
    """A store that cannot be reached never makes it sick: what is warm is served."""
    health = Health()
    for _ in range(100):
        health.tested({**PASSED, "store": "the store refused the credentials"})
        time.sleep(DISK_SICK_S)
        assert health.state == State(statuses.SUSPECT, "the store refused the credentials")
    health.tested(PASSED)
    assert health.state == State() and not health.testing


def test_a_disk_that_fails_for_long_makes_it_sick(time: Clock) -> None:
    """Counted from its first failure; one success begins anew."""
    health, bad = Health(), {**PASSED, DISK: "No space left on device"}
    for first in (True, False):
        health.tested(bad)
        time.sleep(DISK_SICK_S - 1)
        health.tested(bad)
        assert health.state.health == statuses.SUSPECT
        if first:
            health.tested(PASSED)
    time.sleep(1)
    assert health.state == State(statuses.SICK, "No space left on device")


def test_if_all_tests_pass_the_gate_opens_for_a_trial(time: Clock) -> None:
    """And if one fails it does not."""
    health = Health()
    health.gate.failed("full")
    health.tested({**PASSED, DISK: "full"})
    assert not health.gate.is_open(0)
    health.tested(PASSED)
    assert health.gate.is_open(0)


def test_one_model_that_fails_is_no_sickness_and_two_are(time: Clock) -> None:
    """Of calls that have succeeded here before."""
    health = Health()
    prove(health, "bert:1:aa")
    assert health.state == State()
    prove(health, "mnist:2:bb")
    assert health.state.health == statuses.SICK
    assert health.state.reason.endswith("carried out before, of bert, mnist")
    health.calls.succeeded("bert:1:aa")
    assert health.state == State()


def test_several_models_without_a_known_call_make_it_suspect(time: Clock) -> None:
    """It may be their requests, so it does not leave."""
    health = Health()
    for ref in ("a:1:aa", "b:1:bb"):
        for _ in range(IN_A_ROW * 3):
            health.calls.failed(ref)
        health.calls.tried(ref, None)
    assert health.state == State(statuses.SUSPECT, "calls of several models fail: a, b")
    for _ in range(100):
        health.calls.succeeded("c:1:cc")
    assert health.state == State()


def test_a_process_on_probation_is_suspect_for_a_while(time: Clock) -> None:
    """Whatever succeeds meanwhile."""
    health = Health()
    health.on_probation("it crashed 3 times in a row", 30)
    health.gate.succeeded()
    assert health.state == State(statuses.SUSPECT, "it crashed 3 times in a row")
    time.sleep(30)
    assert health.state == State()


def test_a_reason_is_short(time: Clock) -> None:
    """It travels with each heartbeat."""
    health = Health()
    health.tested({DISK: "x" * 10_000})
    assert len(health.state.reason) == MAX_REASON
