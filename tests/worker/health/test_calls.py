"""Whose fault failed calls are: their requests', their model's, or this worker's."""

from __future__ import annotations

from tests.worker.health.conftest import Clock
from worker.health.calls import EXPLAINED_S, FADE_S, FIRST_S, IN_A_ROW, CallRecord


def failing(record: CallRecord, *refs: str, times: int = IN_A_ROW) -> None:
    for ref in refs:
        for _ in range(times):
            record.failed(ref)


def test_failures_with_successes_between_them_are_their_requests_fault(time: Clock) -> None:
    """A third of all inputs is bad: nothing is suspected."""
    record = CallRecord()
    for _ in range(50):
        failing(record, "m", times=IN_A_ROW - 1)
        record.succeeded("m")
    assert (record.to_try(), record.failing, record.error_share) == ([], [], 0.0)


def test_failures_in_a_row_are_tried_and_the_share_of_errors_grows(time: Clock) -> None:
    """Until it is known whose fault they are."""
    record = CallRecord()
    record.succeeded("other")
    failing(record, "m", times=IN_A_ROW + 3)
    assert record.to_try() == ["m"]
    assert 0.5 < record.error_share < 1


def test_if_the_warm_up_call_succeeds_the_requests_are_to_blame(time: Clock) -> None:
    """Further failures are counted for nothing for a minute, and then it is tried again."""
    record = CallRecord()
    failing(record, "m")
    record.tried("m", True)
    failing(record, "m", times=100)
    assert (record.to_try(), record.failing, record.proved) == ([], [], [])
    assert record.error_share == 0
    time.sleep(EXPLAINED_S)
    record.failed("m")
    assert record.to_try() == ["m"]


def test_if_it_fails_the_model_is_failing_here_until_something_succeeds(time: Clock) -> None:
    """It is tried again, later each time."""
    record = CallRecord()
    failing(record, "m")
    record.tried("m", False)
    assert record.failing == record.proved == ["m"]
    assert record.to_try() == []
    time.sleep(FIRST_S)
    assert record.to_try() == ["m"]
    record.tried("m", False)
    time.sleep(FIRST_S)
    assert record.to_try() == []
    record.succeeded("m")
    time.sleep(1000)
    assert record.failing == record.proved == record.to_try() == []


def test_a_model_without_a_known_call_is_failing_for_a_minute_and_proves_nothing(
    time: Clock,
) -> None:
    """Then requests are let through again, which show whether it still fails."""
    record = CallRecord()
    failing(record, "m")
    record.tried("m", None)
    assert (record.failing, record.proved, record.to_try()) == (["m"], [], [])
    time.sleep(EXPLAINED_S)
    assert record.to_try() == ["m"]
    record.tried("m", None)
    assert record.failing == []


def test_the_share_of_errors_fades(time: Clock) -> None:
    """What was long ago says nothing of now."""
    record = CallRecord()
    failing(record, "m", times=20)
    assert record.error_share > 0.8
    time.sleep(FADE_S * 3)
    for _ in range(20):
        record.succeeded("other")
    assert record.error_share < 0.1
    time.sleep(FADE_S * 100)
    assert record.error_share == 0


def test_a_result_that_comes_after_a_success_or_an_eviction_changes_nothing(time: Clock) -> None:
    """The try took a while."""
    record = CallRecord()
    failing(record, "a", "b")
    record.succeeded("a")
    record.forget([])
    record.tried("a", False)
    record.tried("b", False)
    assert record.failing == []
