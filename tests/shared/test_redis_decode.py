"""Redis replies as Python values, and the one rule of which worker is alive."""

from __future__ import annotations

import pytest

from shared.redis_decode import alive, clock_ms, is_alive, number, pairs, text_of, texts
from tests.helpers.cell import Cell
from tests.helpers.factories import REF, placing


def test_flat_lists_texts_and_numbers() -> None:
    """What cannot be read has a value too."""
    assert pairs([b"a", b"1", b"b", b"2"]) == {b"a": b"1", b"b": b"2"}
    with pytest.raises(ValueError, match="shorter"):
        pairs([b"a"])
    assert texts({b"a": b"\xff"}) == {"a": "�"}
    assert (text_of(None), text_of(b"x")) == ("", "x")
    assert (number("2.5"), number("x", 7.0), number("nan"), number("1e30")) == (2.5, 7.0, 0.0, 0.0)
    assert clock_ms([1, 2500]) == clock_ms((b"1", b"2500")) == 1002


def test_a_lease_is_over_at_its_end() -> None:
    """The comparison is exclusive."""
    assert [is_alive(until, 1000) for until in (999, 1000, 1001)] == [False, False, True]
    assert alive([(b"b", 1001.0), (b"a", 2000.0), (b"c", 1000.0)], 1000) == ["a", "b"]


async def test_the_scripts_decide_the_same_at_the_boundary(cell: Cell) -> None:
    """A request goes to a holder in the last millisecond of its lease; at its end it waits."""
    cell.scripts.now_ms = 1_000_000
    await cell.worker("w1", holds=[REF])
    ends = int(await cell.client.zscore(cell.keys.workers, "w1"))
    for now_ms, status in ((ends - 1, "placed"), (ends, "parked"), (ends + 1, "parked")):
        cell.scripts.now_ms = now_ms
        (placed,) = await cell.place(placing())
        assert placed.status == status
        assert is_alive(ends, now_ms) == (status == "placed")
