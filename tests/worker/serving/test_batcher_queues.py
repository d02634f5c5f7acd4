"""All queues of a worker, one per model."""

from __future__ import annotations

import pytest

from shared.manifest import Batching
from tests.helpers.factories import OTHER_REF, REF, work
from worker.serving.batcher import Batcher


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
        batcher.put(work(received=received, ref=ref))
    order = [batcher.next(9.0)[0].requests[0].received for _ in range(3)]
    assert order == [1.0, 1.5, 2.0]
    assert batcher.next(9.0) == (None, None)


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
