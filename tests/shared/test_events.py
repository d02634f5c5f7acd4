"""An event as a stream entry and as what people see."""

from __future__ import annotations

from shared.events import KINDS, MAX_REASON, START, Event, decode, encode, id_of, position_of
from tests.helpers.factories import REF

ENTRY = b"1767323045678-3"


def as_redis_gives(flat: list[str]) -> dict[bytes, bytes]:
    raw = [part.encode() for part in flat]
    return dict(zip(raw[::2], raw[1::2], strict=True))


def test_an_event_comes_back_as_it_was_written() -> None:
    """With the id that Redis gave it; what has no value takes no field."""
    event = Event(
        kind="evicted", worker="w1", ref=REF, tier_from="device", tier_to="host", reason="room",
        bytes=20_000_000, bytes_regained=0, seconds=0.25,
    )  # fmt: skip
    flat = encode(event)
    assert flat[::2] == [
        "kind", "worker", "ref", "tier_from", "tier_to", "reason", "bytes", "bytes_regained",
        "seconds",
    ]  # fmt: skip
    back = decode(ENTRY, as_redis_gives(flat))
    assert encode(back) == flat and back.id == ENTRY.decode()


def test_an_event_is_shown_with_its_model_and_its_time() -> None:
    """The time is Redis's, in its id."""
    event = decode(ENTRY, {b"kind": b"loaded", b"ref": REF.encode(), b"seconds": b"0.5"})
    assert event.document() == {
        "id": "1767323045678-3", "time": "2026-01-02T03:04:05.678Z", "kind": "loaded",
        "model": "mnist", "version": "1", "seconds": 0.5,
    }  # fmt: skip


def test_an_event_that_waited_for_redis_is_shown_at_the_time_it_happened() -> None:
    """Not at the time it could be written."""
    event = decode(ENTRY, {b"kind": b"loaded", b"late_s": b"5.678"})
    assert event.document()["time"] == "2026-01-02T03:04:00.000Z"


def test_what_a_reader_does_not_know_is_left_out() -> None:
    """A field of a later release, a number that is none, a kind that is new: none is an error."""
    event = decode(
        ENTRY, {b"kind": b"split", b"bytes": b"many", b"seconds": b"nan?", b"\xff": b"\xff"}
    )
    assert event.document().keys() == {"id", "time", "kind"}
    assert event.kind == "split"
    assert decode(ENTRY, {}).kind == ""


def test_a_long_reason_is_cut() -> None:
    """The log is capped by entries, so each must be small."""
    (reason,) = encode(Event(kind="refused", reason="x" * 5000))[3:]
    assert len(reason) == MAX_REASON


def test_positions_are_ordered_as_redis_orders_ids() -> None:
    """By number, not by text."""
    ids = ["9-0", "10-0", "10-2", "10-10"]
    assert sorted(ids, key=position_of) == ids
    assert [id_of(position_of(text)) for text in ids] == ids
    assert position_of("10") == (10, 0) > START


def test_the_kinds_are_words_for_a_url() -> None:
    """They are asked for by `?kind=`."""
    assert len(set(KINDS)) == len(KINDS) >= 12
    assert all(kind.replace("_", "").isalpha() and kind.islower() for kind in KINDS)
