"""Which requests run next, together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.envelope import Envelope
from shared.manifest import Batching
from tests.helpers.factories import OTHER_REF, REF, tensor, work
from worker.serving.batcher import ModelQueue, choose, ready_at, take_batch
from worker.serving.queued_request import QueuedRequest


def queue(*works: QueuedRequest, ref: str = REF, **limits: float) -> ModelQueue:
    made = ModelQueue(ref, Batching(**{"max_size": 4, **limits}))
    for one in works:
        made.put(one)
    return made


def urgent(priority: int, **changes: object) -> QueuedRequest:
    return work(envelope=Envelope([tensor(np.zeros((1, 2), "<f4"))], priority=priority), **changes)


def at(received: float, **changes: object) -> QueuedRequest:
    return work(received=received, **changes)


def rows(count: int, **changes: object) -> QueuedRequest:
    return work(np.zeros((count, 2), "<f4"), **changes)


# When -----------------------------------------------------------------------------------------


def test_a_lone_request_runs_at_once() -> None:
    """Nobody waits for company unless the manifest asks for it."""
    assert ready_at(queue(at(5.0))) == 5.0


def test_with_a_wait_a_batch_that_is_not_full_waits() -> None:
    """From the moment its head was received."""
    assert ready_at(queue(at(5.0), at(5.1), max_wait_ms=20)) == 5.02


def test_a_full_batch_does_not_wait() -> None:
    """There is nothing to wait for."""
    assert ready_at(queue(*[at(5.0)] * 4, max_wait_ms=20)) == 5.0


def test_a_model_that_is_not_batched_never_waits() -> None:
    """Whatever its manifest says."""
    assert ready_at(queue(at(5.0), max_size=1, max_wait_ms=20)) == 5.0


def test_the_oldest_head_is_served_first() -> None:
    """First come, first served across models."""
    young, old = queue(at(2.0)), queue(at(1.0), ref=OTHER_REF)
    assert choose([young, old], 3.0) == (old, None)


def test_the_most_urgent_head_is_served_before_the_oldest() -> None:
    """1 before 9, whatever their age; among equals the oldest."""
    old, young = queue(urgent(5, received=1.0)), queue(urgent(4, received=2.0), ref=OTHER_REF)
    assert choose([old, young], 3.0) == (young, None)
    youngest = queue(urgent(4, received=2.5))
    assert choose([youngest, old, young], 3.0) == (young, None)


def test_an_isolated_request_does_not_wait_for_company() -> None:
    """It would have none."""
    assert ready_at(queue(at(5.0, attempts=2), max_wait_ms=20)) == 5.0


def test_an_older_head_that_still_waits_does_not_hold_up_the_ready() -> None:
    """It is served when its time has come."""
    waits, ready = queue(at(1.0), max_wait_ms=1000), queue(at(1.5), ref=OTHER_REF)
    assert choose([waits, ready], 1.6) == (ready, None)
    assert choose([waits, ready], 2.0) == (waits, None)


def test_with_nothing_ready_the_time_to_look_again_is_given() -> None:
    """The soonest of all; none if nothing waits."""
    late, soon = queue(at(1.0), max_wait_ms=500), queue(at(1.0), ref=OTHER_REF, max_wait_ms=100)
    assert choose([late, soon], 1.0) == (None, 1.1)
    assert choose([], 1.0) == (None, None)


# What -----------------------------------------------------------------------------------------


def test_a_batch_is_what_fits_in_order() -> None:
    """Up to the limit of items."""
    works = [rows(1) for _ in range(6)]
    filled = queue(*works)
    assert take_batch(filled) == works[:4]
    assert list(filled.waiting) == works[4:]


def test_items_count_not_requests() -> None:
    """A request of two rows takes two places; one that does not fit lets a smaller one pass."""
    three, two, one = rows(3), rows(2), rows(1)
    filled = queue(three, two, one)
    assert take_batch(filled) == [three, one]
    assert list(filled.waiting) == [two]


def test_bytes_are_bounded_too() -> None:
    """But the head always runs."""
    works = [rows(1, size=60) for _ in range(3)]
    assert take_batch(queue(*works, max_bytes=120)) == works[:2]
    large = rows(1, size=500)
    assert take_batch(queue(large, works[0], max_bytes=120)) == [large]


def test_a_request_over_the_limit_runs_alone() -> None:
    """It was accepted under another manifest; it is not stuck for ever."""
    large = rows(9)
    assert take_batch(queue(large, rows(1))) == [large]


def test_only_requests_alike_share_a_batch() -> None:
    """Same inputs, types and inner shapes, and the same wanted outputs. The others keep their
    places."""
    head, wide, double = rows(1), work(np.zeros((1, 3), "<f4")), work(np.zeros((1, 2), "<f8"))
    chosen = rows(1, envelope=Envelope([tensor(np.zeros((1, 2), "<f4"))], outputs=["y"]))
    same = rows(2)
    filled = queue(head, wide, double, chosen, same)
    assert take_batch(filled) == [head, same]
    assert list(filled.waiting) == [wide, double, chosen]


def test_within_a_model_the_most_urgent_goes_first() -> None:
    """Equals in the order of their arrival."""
    works = [urgent(p) for p in (5, 9, 5, 1, 9, 1, 4)]
    filled = queue(*works, max_size=1)
    served = [take_batch(filled)[0] for _ in works]
    assert served == [works[n] for n in (3, 5, 6, 0, 2, 1, 4)]


def test_a_batch_of_several_priorities_is_in_the_order_of_the_stream() -> None:
    """`begin` looks it up in one range."""
    works = [urgent(p) for p in (9, 5, 1)]
    assert take_batch(queue(*works)) == works


def test_a_request_that_fits_nowhere_keeps_its_place_among_priorities() -> None:
    """What was skipped goes back in front."""
    wide = work(np.zeros((1, 3), "<f4"), envelope=Envelope([], priority=2))
    last, first = urgent(9), urgent(1)
    filled = queue(last, wide, first)
    assert take_batch(filled) == [last, first]
    filled.put(urgent(5))
    assert filled.waiting[0] is wide


@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_an_isolated_request_runs_alone(attempts: int) -> None:
    """Neither as the head nor beside one has it batch-mates; the others go on together."""
    suspect, others = rows(1, attempts=attempts), [rows(1) for _ in range(3)]
    filled = queue(suspect, *others)
    assert [take_batch(filled), take_batch(filled)] == [[suspect], others]
    filled = queue(others[0], suspect, *others[1:])
    assert [take_batch(filled), take_batch(filled)] == [others, [suspect]]


def test_a_request_with_other_inputs_than_were_tried_runs_alone() -> None:
    """What a model does with one that may be left out is not known of a batch."""
    plain, scaled = (np.zeros((1, 2), "<f4"), "x"), (np.ones((1, 1), "<f4"), "scale")
    few, more = (
        {"envelope": Envelope([tensor(*one) for one in given]), "signature": len(given)}
        for given in ([plain], [plain, scaled])
    )
    made = ModelQueue(REF, Batching(max_size=4, max_wait_ms=20), frozenset({"x"}))
    for changes in (few, more, more, few):
        made.put(work(**changes, received=5.0))
    assert [len(take_batch(made)) for _ in range(3)] == [2, 1, 1]
    made.put(work(**more, received=5.0))
    assert ready_at(made) == 5.0


def test_a_model_that_is_not_batched_runs_one_by_one() -> None:
    """In order."""
    first, second = rows(1), rows(1)
    filled = queue(first, second, max_size=1)
    assert [take_batch(filled), take_batch(filled)] == [[first], [second]]


@given(
    st.lists(
        st.tuples(
            st.integers(1, 5), st.sampled_from([2, 3]), st.integers(1, 99),
            st.sampled_from([1, 5, 5, 9]), st.sampled_from([0, 0, 1, 2]),
        ),
        min_size=1,
    ),
    st.integers(1, 6), st.integers(1, 200),
)  # fmt: skip
def test_every_request_runs_once_in_a_legal_batch(
    requests: list[tuple[int, int, int, int, int]], max_size: int, max_bytes: int
) -> None:
    """Alike ones in their order; no batch over the limits but of one; none is left out; the most
    urgent is never passed over; a suspect has no company."""
    works = [
        work(
            array := np.zeros((count, width), "<f4"), size=size, entry=f"{n}-0".encode(),
            envelope=Envelope([tensor(array)], priority=priority), attempts=attempts,
        )
        for n, (count, width, size, priority, attempts) in enumerate(requests)
    ]  # fmt: skip
    filled, ran = queue(*works, max_size=max_size, max_bytes=max_bytes), []
    while filled.waiting:
        head = filled.waiting[0]
        batch = take_batch(filled)
        assert head in batch
        assert head.envelope.priority == min(w.envelope.priority for w in (*batch, *filled.waiting))
        assert len(batch) == 1 or not any(w.isolated for w in batch)
        assert len({w.signature for w in batch}) == 1
        if len(batch) > 1:
            assert sum(w.items for w in batch) <= max_size
            assert sum(w.size for w in batch) <= max_bytes
        positions = [works.index(w) for w in batch]
        assert positions == sorted(positions)  # `begin` needs them in the order of the stream
        ran += batch
    assert sorted(w.entry for w in ran) == sorted(w.entry for w in works)
