"""The checks of a chaos run find what they are there for: each sees one thing gone wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import checks, history
from tests.chaos.checks import Ended, Seen, violations
from tests.chaos.faults.network import CutStore
from tests.chaos.history import Event, History
from tests.chaos.report import counts, outages
from tests.chaos.schedule import Injected


def event(op: int = 1, **given: object) -> Event:
    """Something that a client saw; `ok` if nothing else is said."""
    told: dict[str, object] = {"at": 1.0, "kind": "async", "phase": "ok", "limit_s": 30.0}
    return Event(op=op, **(told | given))  # type: ignore[arg-type]


ACCEPTED = event(request="r", state="accepted")
SUCCEEDED = event(request="r", state="succeeded", worker="w1")
KEPT = {"r": Ended("succeeded", "w1")}


def test_a_history_in_which_all_is_well_has_no_violations() -> None:
    """Accepted, answered, kept."""
    assert violations(Seen([ACCEPTED, SUCCEEDED], KEPT)) == []


WRONG: dict[str, Seen] = {
    "every_answer_is_right": Seen([event(state="succeeded", right=False)], {}),
    "every_request_has_one_outcome": Seen([ACCEPTED], {"r": Ended("")}),
    "nothing_is_forgotten": Seen([event(request="r", state="lost", phase="info")], {}),
    "no_reply_comes_twice": Seen([], {}, replies={("replies:gw", "r"): 2}),
    "every_stream_entry_is_answered_once": Seen(
        [event(kind="stream", state="accepted")], {}, answers={1: 2}
    ),
    "cancelled_is_final": Seen(
        [event(kind="cancel", request="r", state="cancelled", status=204)], {"r": Ended("")}
    ),
    "only_the_cancelled_are_cancelled": Seen([event(state="cancelled")], {}),
    "a_key_is_one_request": Seen(
        [
            event(key="k", request="r", state="succeeded", worker="w1"),
            event(2, key="k", request="s", state="succeeded", worker="w1"),
        ],
        {},
    ),
    "only_the_hurried_expire": Seen([event(state="expired")], {}),
    "what_failed_had_a_reason": Seen([event(state="failed", code="model_failed")], {}),
    "poison_fails": Seen([event(kind="poison", state="succeeded")], {}),
    "who_is_refused_is_told_when_to_come_back": Seen([event(phase="fail", note="no")], {}),
    "every_gateway_serves_afterwards": Seen([event(kind="afterwards", phase="info")], {}),
    "every_fault_was_verified": Seen([], {}, injected=[Injected("f", False, 0, 1, "missed")]),
}


@pytest.mark.parametrize("check", WRONG)
def test_each_check_finds_its_own_violation(check: str) -> None:
    """And no other check takes it for one of its own."""
    found = violations(WRONG[check])
    assert len(found) == 1
    assert found[0].startswith(check + ": ")


@pytest.mark.parametrize(
    "seen",
    [
        Seen([ACCEPTED, SUCCEEDED, event(request="r", state="succeeded", worker="w2")], KEPT),
        Seen([ACCEPTED, SUCCEEDED], {"r": Ended("failed")}),
        Seen([ACCEPTED], {"r": Ended("succeeded", "w1", right=False)}),
    ],
)
def test_one_outcome_is_the_same_for_callers_and_in_redis(seen: Seen) -> None:
    """Another worker's, another state, or a wrong answer kept."""
    (found,) = violations(seen)
    assert found.startswith("every_request_has_one_outcome: r")


def test_every_check_is_tried() -> None:
    """One that is added must be shown to find something."""
    assert set(WRONG) == {check.__name__ for check in checks.CHECKS}


def test_a_stream_entry_without_an_answer_is_a_violation() -> None:
    """Once means neither twice nor never; who was not sure and wrote it twice may get two."""
    accepted = event(kind="stream", state="accepted")
    unsure = event(kind="stream", phase="info")
    assert len(violations(Seen([accepted], {}))) == 1
    assert violations(Seen([unsure, accepted], {}, answers={1: 2})) == []
    assert len(violations(Seen([unsure, accepted], {}, answers={1: 3}))) == 1


def test_a_load_may_fail_while_the_store_is_away_and_not_otherwise() -> None:
    """The cut excuses what ended in it or shortly after."""
    failed = event(at=5.0, state="failed", code="store_unavailable")
    cut = Injected(CutStore.kind, False, 4.0, 6.0, "")
    assert violations(Seen([failed], {}, injected=[cut])) == []
    assert len(violations(Seen([failed], {}))) == 1


def test_who_is_told_of_a_failed_load_late_may_have_asked_while_the_store_was_away() -> None:
    """Redis, and with it the answer, may go away next. Who asked later has no such excuse."""
    told = event(at=40.0, state="failed", code="store_unavailable")
    cut = [Injected(CutStore.kind, False, 4.0, 6.0, "")]
    for asked, wrong in ((5.0, 0), (2.0, 0), (30.0, 1)):
        seen = Seen([event(at=asked, phase="invoke"), told], {}, injected=cut)
        assert len(violations(seen)) == wrong


def test_a_key_that_nobody_ever_answered_is_a_violation() -> None:
    """All its tries were refused."""
    assert len(violations(Seen([event(key="k", phase="fail")], {}))) == 1


def test_an_outage_is_the_longest_time_without_an_answer_that_a_fault_overlaps() -> None:
    """Here from 2 to 5; the gap from 8 to 20 begins after the fault was healed."""
    events = [event(at=at, state="succeeded") for at in (1.0, 2.0, 5.0, 8.0, 20.0)]
    fault = Injected("f", True, 2.5, 6.0, "")
    assert outages(events, [fault]) == {"f": 3.0}


def test_counts_take_each_request_once() -> None:
    """However often it was told of."""
    found = counts([event(phase="invoke"), ACCEPTED, SUCCEEDED, SUCCEEDED], {"r": 1, "s": 0}, 2, 0)
    assert found["submitted"] == found["accepted"] == found["succeeded"] == 1
    assert (found["retried (seen with attempts > 0)"], found["dead letters"]) == (1, 2)


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Each event is a line of its own."""
    with History(tmp_path / "history.jsonl") as written:
        op = written.begin("sync", "m", 1.0)
        op.note("info", note="ConnectionResetError")
    found = history.read(tmp_path / "history.jsonl")
    assert [(each.op, each.phase) for each in found] == [(1, "invoke"), (1, "info")]
    assert found == written.events
