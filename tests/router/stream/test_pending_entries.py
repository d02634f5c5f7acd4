"""Whose turn it is among the stream entries that wait."""

from __future__ import annotations

import pytest

from router.stream import pending_entries
from router.stream.pending_entries import MAX_WAITING, RETRY_S, PendingEntries
from shared import clock


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock, in a test's hand."""
    time = [0.0]
    monkeypatch.setattr(clock, "monotonic", lambda: time[0])
    return time


def page(first: int, count: int) -> list[str]:
    return [f"{n}-0" for n in range(first, first + count)]


def idle(now: list[float]) -> PendingEntries:
    """Its list was gone through, and held nothing."""
    pending = PendingEntries(4)
    assert pending.position() == "0"
    pending.tried("0", [], [])
    assert not pending and pending.position() is None
    return pending


def test_what_waits_gets_its_turn_page_by_page(now: list[float]) -> None:
    """Each page after the last one's end, then from the start; a pause before each."""
    pending = PendingEntries(4)
    seen = []
    for first, count in ((1, 4), (5, 4), (9, 1), (1, 4)):
        position = pending.position()
        seen.append(position)
        pending.tried(position, page(first, count), [False] * count)
        assert pending.position() is None
        now[0] += RETRY_S
    assert seen == ["0", "4-0", "8-0", "0"]
    assert len(pending) == 9


def test_a_page_of_which_something_was_taken_is_followed_at_once(now: list[float]) -> None:
    """There is room again: no pause."""
    pending = PendingEntries(4)
    pending.tried("0", page(1, 4), [False, True, False, False])
    assert pending.position() == "4-0"
    assert len(pending) == 3


def test_new_entries_that_wait_are_tried_again_after_a_pause(now: list[float]) -> None:
    """And those behind them are read meanwhile."""
    pending = idle(now)
    pending.came(page(1, 2), [False, True])
    assert pending and pending.position() is None
    assert 0 < pending.pause_s() <= RETRY_S
    now[0] += RETRY_S
    assert pending.position() == "0"


def test_how_long_an_entry_waits_is_counted_from_its_first_turn(now: list[float]) -> None:
    """However often it is tried."""
    pending = idle(now)
    assert pending.waited_s("1-0") == 0
    pending.came(["1-0"], [False])
    for _ in range(3):
        now[0] += 10
        pending.tried("0", ["1-0"], [False])
    assert pending.waited_s("1-0") == 30


def test_an_entry_that_somebody_else_took_is_forgotten(now: list[float]) -> None:
    """A whole round went by without it; one that came during the round is not."""
    pending = idle(now)
    pending.came(page(1, 6), [False] * 6)
    now[0] += RETRY_S
    pending.tried("0", page(1, 4), [False] * 4)
    now[0] += RETRY_S
    pending.came(["9-0"], [False])
    pending.tried("4-0", [], [])
    now[0] += RETRY_S
    assert len(pending) == 7  # found in this round, or when they came
    for position, entries in (("0", page(1, 4)), ("4-0", ["9-0"])):
        pending.tried(position, entries, [False] * len(entries))
        now[0] += RETRY_S
    assert len(pending) == 5


def test_no_more_than_so_many_wait(now: list[float]) -> None:
    """Nothing new is read beyond it."""
    pending = idle(now)
    pending.came(page(1, MAX_WAITING - 1), [False] * MAX_WAITING)
    assert not pending.full()
    pending.came(["99999-0"], [False])
    assert pending.full()
    assert pending_entries.MAX_WAITING == MAX_WAITING
