"""Bytes of the in-flight window: one model's flood leaves a part of them to its neighbours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.serving.inflight import MOST_TIMES, InflightWindow


def read(held: InflightWindow, entry: int, size: int, model: bytes) -> bool:
    """An entry was read; whether it is in hand."""
    name = b"%d-0" % entry
    if held.admits(size, model):
        held.add(name, size, model)
        return True
    held.put_off_until_free(name, size, model)
    return False


def window(models: int = 3) -> InflightWindow:
    """Of 160 bytes: 10 for each model, and 40 that no flood gets."""
    return InflightWindow(1000, max_bytes=160, models=lambda: models)


def again(held: InflightWindow) -> list[bytes]:
    """Read what is due; its entries."""
    due = held.due()
    for one in due:
        held.forget_put_off(one)
        held.add(*one)
    return [one.entry for one in due]


def test_a_flood_leaves_its_neighbours_a_part_of_the_bytes() -> None:
    """What it has beyond that is put off; a neighbour has its share in any case."""
    held = window()
    assert [read(held, n, 30, b"flood") for n in range(6)] == [True] * 4 + [False] * 2
    assert (held.bytes, held.put_off, len(held)) == (120, 2, 4)
    assert [read(held, n, 5, b"neighbour") for n in range(10, 13)] == [True, True, False]
    assert read(held, 20, 30, b"other") and held.bytes == 160


def test_what_was_put_off_is_read_again_in_its_order() -> None:
    """Once others of its model were answered; what comes meanwhile waits behind it."""
    held = window()
    for n in range(6):
        read(held, n, 30, b"flood")
    assert held.due() == []
    held.release([b"0-0"])
    assert not read(held, 6, 1, b"flood")
    assert again(held) == [b"4-0"]
    held.release([b"1-0", b"2-0", b"3-0"])
    assert again(held) == [b"5-0", b"6-0"]
    assert (held.put_off, held.bytes, held.knows(b"5-0")) == (0, 61, True)
    held.release([b"4-0", b"5-0", b"6-0"])
    assert (len(held), held.bytes, held._counted) == (0, 0, 0)
    assert not held._by_model and not held._bytes_of and not held._later


def test_what_is_due_alternates_between_models() -> None:
    """None of two floods has all that was freed."""
    held = window()
    for n in range(0, 12, 2):
        read(held, n, 30, b"a")
        read(held, n + 1, 30, b"b")
    assert held.put_off == 8
    held.release([b"0-0", b"1-0", b"2-0", b"3-0"])
    assert again(held) == [b"4-0", b"5-0", b"6-0", b"7-0"]


def test_a_model_alone_has_all_of_the_window() -> None:
    """Nothing is put off, and what was when it had neighbours is due."""
    models = [2]
    held = InflightWindow(1000, max_bytes=160, models=lambda: models[0])
    assert [read(held, n, 60, b"flood") for n in range(3)] == [True, True, False]
    models[0] = 1
    assert again(held) == [b"2-0"]
    held.release([b"0-0"])
    assert read(held, 3, 60, b"flood")


@pytest.mark.parametrize("size", [170, 1000])
def test_one_larger_than_the_window_is_not_put_off_for_ever(size: int) -> None:
    """Beside others, one at a time: then nothing is read until it is answered."""
    held = window()
    assert read(held, 0, 5, b"neighbour") and read(held, 1, size, b"large")
    assert not read(held, 2, size, b"large") and held.capacity() == 0
    assert held.due() == []
    held.release([b"1-0"])
    assert again(held) == [b"2-0"]


def test_the_stream_is_read_past_what_is_put_off_for_a_neighbour_only() -> None:
    """Who has more entries there than were read."""
    held = window()
    for n in range(6):
        read(held, n, 30, b"flood")
    read(held, 6, 1, b"neighbour")
    assert not held.lacks({b"flood": 1000, b"neighbour": 1})
    assert held.lacks({b"flood": 1000, b"neighbour": 2})
    assert held.lacks({b"other": 1})


def test_entries_that_are_put_off_are_bounded_too() -> None:
    """In their number, as all that is read past."""
    held = InflightWindow(32, max_bytes=160, models=lambda: 2)
    number = 0
    while held.capacity():
        read(held, number, 30, b"flood")
        number += 1
    assert number == MOST_TIMES * 32
    while held.put_off:
        held.release(list(held._sizes))
        assert again(held)
    assert held.capacity()


@given(st.data())
def test_no_entry_is_lost_or_in_hand_twice(data: st.DataObject) -> None:
    """However entries come and are answered: each model's in its order, and the bytes are
    bounded."""
    held, order, read_in = window(), dict[bytes, list[int]](), dict[bytes, list[int]]()
    for n in range(data.draw(st.integers(1, 60))):
        model = data.draw(st.sampled_from([b"a", b"b", b"c"]))
        size = data.draw(st.integers(0, 50))
        before = held.bytes
        order.setdefault(model, []).append(n)
        if read(held, n, size, model):
            read_in.setdefault(model, []).append(n)
            assert held.bytes <= 160 or before < 160
        if data.draw(st.booleans()) and len(held):
            held.release([data.draw(st.sampled_from(sorted(held._sizes)))])
        _read_in(held, read_in)
    while len(held) or held.put_off:
        held.release(list(held._sizes))
        _read_in(held, read_in)
    assert read_in == order and held.bytes == 0


def _read_in(held: InflightWindow, read_in: dict[bytes, list[int]]) -> None:
    for entry in again(held):
        number = int(entry.partition(b"-")[0])
        read_in.setdefault(held._sizes[entry][1], []).append(number)
