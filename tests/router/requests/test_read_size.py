"""Reads of replies have a bounded size, though Redis counts entries only."""

from __future__ import annotations

import pytest

from router.requests import read_size
from router.requests.read_size import FIRST_COUNT, MOST_BYTES, ReadSize


def test_small_entries_are_read_many_at_a_time() -> None:
    """From the second read on."""
    size = ReadSize(256)
    assert size.count() == FIRST_COUNT
    size.note(1000)
    assert size.count() == 256


def test_one_large_entry_makes_the_next_reads_small() -> None:
    """They grow again slowly: the next ones may be as large."""
    size = ReadSize(256)
    size.note(MOST_BYTES)
    assert size.count() == 1
    size.note(10)
    assert size.count() == 1
    for _ in range(200):
        size.note(10)
    assert size.count() == 256


def test_after_a_pause_little_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anything may have come meanwhile."""
    size = ReadSize(256)
    size.note(10)
    monkeypatch.setattr(read_size, "PAUSE_S", -1.0)
    assert size.count() == FIRST_COUNT
    assert ReadSize(4).count() == 4
