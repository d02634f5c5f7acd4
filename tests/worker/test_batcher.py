"""Which requests run next, together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.envelope import Envelope
from shared.manifest import Batching
from tests.helpers.factories import OTHER_REF, REF, tensor, work
from worker.batcher import Batcher, ModelQueue, choose, ready_at, take_batch
from worker.work import Work


def queue(*works: Work, ref: str = REF, **limits: float) -> ModelQueue:
    made = ModelQueue(ref, Batching(**{"max_size": 4, **limits}))
    made.waiting.extend(works)
    return made


def at(received: float, **changes: object) -> Work:
    return work(received=received, **changes)


def rows(count: int, **changes: object) -> Work:
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


def test_an_older_head_that_still_waits_does_not_hold_up_the_ready() -> None:
    """It is served when its time has come."""
    waits, ready = queue(at(1.0), max_wait_ms=1000), queue(at(1.5), ref=OTHER_REF)
    assert choose([waits, ready], 1.6) == (ready, None)
    assert choose([waits, ready], 2.0) == (waits, None)


def test_with_nothing_ready_the_time_to_look_again_is_told() -> None:
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


def test_a_model_that_is_not_batched_runs_one_by_one() -> None:
    """In order."""
    first, second = rows(1), rows(1)
    filled = queue(first, second, max_size=1)
    assert [take_batch(filled), take_batch(filled)] == [[first], [second]]


@given(
    st.lists(st.tuples(st.integers(1, 5), st.sampled_from([2, 3]), st.integers(1, 99)), min_size=1),
    st.integers(1, 6), st.integers(1, 200),
)  # fmt: skip
def test_every_request_runs_once_in_a_legal_batch(
    requests: list[tuple[int, int, int]], max_size: int, max_bytes: int
) -> None:
    """Alike ones in their order; no batch over the limits but of one; none is left out."""
    works = [
        work(np.zeros((count, width), "<f4"), size=size, entry=f"{n}-0".encode())
        for n, (count, width, size) in enumerate(requests)
    ]
    filled, ran = queue(*works, max_size=max_size, max_bytes=max_bytes), []
    while filled.waiting:
        head = filled.waiting[0]
        batch = take_batch(filled)
        assert batch[0] is head
        assert len({w.signature for w in batch}) == 1
        if len(batch) > 1:
            assert sum(w.items for w in batch) <= max_size
            assert sum(w.size for w in batch) <= max_bytes
        positions = [works.index(w) for w in batch]
        assert positions == sorted(positions)  # `begin` needs them in the order of the stream
        ran += batch
    assert sorted(w.entry for w in ran) == sorted(w.entry for w in works)


# All queues of a worker -----------------------------------------------------------------------


def test_a_request_for_a_model_that_is_not_here_is_refused() -> None:
    """Before it is opened, and after it is closed."""
    batcher = Batcher()
    assert not batcher.put(work())
    batcher.open(REF, Batching())
    assert batcher.put(work())
    assert batcher.next(float("inf"))[0]
    batcher.close(REF)
    assert not batcher.put(work())
    assert batcher.waiting(REF) == 0


def test_models_take_turns() -> None:
    """By the age of their oldest request."""
    batcher = Batcher()
    for ref in (REF, OTHER_REF):
        batcher.open(ref, Batching())
    for received, ref in ((1.0, REF), (2.0, REF), (1.5, OTHER_REF)):
        batcher.put(at(received, ref=ref))
    order = [batcher.next(9.0)[0][0].received for _ in range(3)]
    assert order == [1.0, 1.5, 2.0]
    assert batcher.next(9.0) == ([], None)


def test_what_waits_is_counted_per_model() -> None:
    """The evictor asks."""
    batcher = Batcher()
    batcher.open(REF, Batching())
    batcher.put(work())
    assert (batcher.waiting(REF), batcher.waiting(OTHER_REF)) == (1, 0)


def test_a_queue_with_requests_cannot_be_closed() -> None:
    """That would lose them: it is a bug, and says so."""
    batcher = Batcher()
    batcher.open(REF, Batching())
    batcher.put(work())
    with pytest.raises(AssertionError, match="bug"):
        batcher.close(REF)
