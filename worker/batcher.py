"""Which requests run next, together: per-model queues and a pure choice among them.

While the device is busy requests gather, so batches grow with load and a lone request never waits
(unless its manifest asks for `max_wait_ms`). Models take turns by the age of their oldest request.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from shared.manifest import Batching
from worker.work import Work


@dataclass
class ModelQueue:
    """The requests of one model copy that wait for the device."""

    ref: str
    limits: Batching
    waiting: deque[Work] = field(default_factory=deque)

    @property
    def batched(self) -> bool:
        return self.limits.max_size > 1


def ready_at(queue: ModelQueue) -> float:
    """When the queue's head may run: at once if a batch is full, else after its wait."""
    head = queue.waiting[0]
    wait_s = queue.limits.max_wait_ms / 1000
    if not queue.batched or wait_s == 0 or len(queue.waiting) >= queue.limits.max_size:
        return head.received
    return head.received + wait_s


def choose(queues: Iterable[ModelQueue], now: float) -> tuple[ModelQueue | None, float | None]:
    """The queue to serve now, or (None, when to look again); (None, None) if nothing waits.

    Among the ready ones the oldest head wins: first come, first served across models.
    """
    best: ModelQueue | None = None
    soonest: float | None = None
    for queue in queues:
        at = ready_at(queue)
        if at > now:
            soonest = at if soonest is None else min(soonest, at)
        elif best is None or queue.waiting[0].received < best.waiting[0].received:
            best = queue
    return best, None if best else soonest


def take_batch(queue: ModelQueue) -> list[Work]:
    """Remove the next batch: the head and what fits beside it (signature, items, bytes)."""
    head = queue.waiting.popleft()
    batch, items, size = [head], head.items, head.size
    if not queue.batched:
        return batch
    skipped: list[Work] = []
    while queue.waiting and items < queue.limits.max_size:
        work = queue.waiting.popleft()
        fits = (
            work.signature == head.signature
            and work.envelope.outputs == head.envelope.outputs
            and items + work.items <= queue.limits.max_size
            and size + work.size <= queue.limits.max_bytes
        )
        if not fits:
            skipped.append(work)
            continue
        batch.append(work)
        items, size = items + work.items, size + work.size
    queue.waiting.extendleft(reversed(skipped))
    return batch


class Batcher:
    """All queues of a worker. Only queues that hold something are looked at."""

    def __init__(self) -> None:
        self._queues: dict[str, ModelQueue] = {}
        self._filled: dict[str, ModelQueue] = {}

    def open(self, ref: str, limits: Batching) -> None:
        """Begin to take requests for a model copy."""
        self._queues[ref] = ModelQueue(ref, limits)

    def close(self, ref: str) -> None:
        """Forget a drained queue."""
        queue = self._queues.pop(ref, None)
        assert queue is None or not queue.waiting, "this is a bug: a queue with requests was closed"

    def put(self, work: Work) -> bool:
        """Queue a request; False if the worker does not hold its model."""
        queue = self._queues.get(work.ref)
        if queue is None:
            return False
        queue.waiting.append(work)
        self._filled[work.ref] = queue
        return True

    def next(self, now: float) -> tuple[list[Work], float | None]:
        """The next batch ([] if none is ready, with the time to look again)."""
        queue, again = choose(self._filled.values(), now)
        if queue is None:
            return [], again
        batch = take_batch(queue)
        if not queue.waiting:
            del self._filled[queue.ref]
        return batch, None

    def waiting(self, ref: str) -> int:
        """Requests of a model that wait."""
        queue = self._queues.get(ref)
        return len(queue.waiting) if queue else 0
