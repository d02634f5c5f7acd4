"""What is asked of the event log, and what workers report, whatever the text: never a crash."""

from __future__ import annotations

import contextlib

from hypothesis import example, given
from hypothesis import strategies as st

from router.events.pages import LAST, EventFilter, parse_filter, parse_since
from router.fleet.load_status import explain_wait, load_state
from router.rest.arguments import parse_limit
from shared import worker_report
from shared.errors import InvalidInput
from shared.events import Event, decode, encode, id_of, position_of
from shared.redis_decode import number
from tests.helpers.factories import OTHER_REF, REF

NOW = 1_767_323_045_678
TEXTS = st.text() | st.from_regex(r"[0-9]{1,22}(-[0-9]{1,22})?|[0-9]{1,9}[smhd]")


@given(TEXTS)
@example("9" * 15 + "-" + str(LAST))
@example("0000-01-01T00:00:00Z")
@example("9999-12-31T23:59:59Z")
@example("1700000000000-0\n")
@example("٣-٣")
def test_a_position_is_one_that_redis_takes_or_is_refused(text: str) -> None:
    """Milliseconds and a number of 64 bits."""
    with contextlib.suppress(InvalidInput):
        ms, number_in_it = parse_since(text, NOW)
        assert 0 <= ms < 1 << 63 and 0 <= number_in_it <= LAST
        assert position_of(id_of((ms, number_in_it))) == (ms, number_in_it)


@given(TEXTS, TEXTS, st.lists(TEXTS), TEXTS)
def test_a_query_is_understood_or_refused(
    model: str, worker: str, kinds: list[str], limit: str
) -> None:
    """With InvalidInput, which names the field."""
    with contextlib.suppress(InvalidInput):
        wanted = parse_filter({"model": model, "worker": worker}, kinds)
        wanted(Event(kind="loaded", ref=REF))
    with contextlib.suppress(InvalidInput):
        assert 1 <= parse_limit(limit) <= 1000


@given(st.text() | st.just('{"a": ["host", 1e99, -1, 1.5]}') | st.just("[" * 5000))
def test_a_report_is_read_or_left_out(text: str) -> None:
    """A worker of another release may write what it likes."""
    assert all(len(row) == 4 for row in worker_report.decode({"copies": text}).copies.values())


@given(st.dictionaries(st.binary(), st.binary()))
@example({b"kind": b"loaded", b"bytes": b"--1", b"seconds": b"1e400", b"late_s": b"inf"})
@example({b"late_s": b"1e300", b"bytes": b"9" * 5000})
def test_any_entry_of_the_log_can_be_shown(fields: dict[bytes, bytes]) -> None:
    """Whoever wrote it."""
    event = decode(b"1767323045678-0", fields)
    assert event.document()["id"] == "1767323045678-0"
    encode(event)


@example({"phase": "loading", "since": "9" * 17})
@given(st.dictionaries(st.sampled_from(["phase", "since", "worker", "refused", "why"]), st.text()))
def test_any_lease_makes_a_sentence(lease: dict[str, str]) -> None:
    """And its numbers are numbers."""
    assert explain_wait(load_state(lease), None, NOW)
    assert abs(number(lease.get("since", ""))) < 1e18
    if (state := load_state(lease)) is not None:
        assert state.document(NOW)["since"]


def test_a_filter_lets_through_what_it_names() -> None:
    """And all, if it names nothing."""
    event = Event(kind="loaded", worker="w1", ref=OTHER_REF)
    assert EventFilter()(event) and EventFilter("bert", "w1", frozenset({"loaded"}))(event)
    assert not EventFilter("mnist")(event) and not EventFilter(kinds=frozenset({"evicted"}))(event)
    assert not EventFilter("bert")(Event(kind="restarted"))
