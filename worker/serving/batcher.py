"""Which requests run next, together: per-model queues and a pure choice among them.

While the device is busy requests gather, so batches grow with load and a lone request never waits
(unless its manifest asks for `max_wait_ms`). Among models and within one, the lower priority number
goes first, then age. Priority is strict: a flood of priority 1 keeps 9 waiting until its deadline.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from shared.manifest import Batching
from worker.serving.queued_request import QueuedRequest, entry_order


@dataclass
class ModelQueue:
    """The requests of one model copy that wait for the device, in the order to serve them. `tried`:
    the names of the inputs with which it was tried; a request with others runs alone. None: all."""

    ref: str
    limits: Batching
    tried: frozenset[str] | None = None
    waiting: deque[QueuedRequest] = field(default_factory=deque)

    @property
    def batched(self) -> bool:
        return self.limits.max_size > 1

    def alone(self, work: QueuedRequest) -> bool:
        """Whether a request has no batch-mates, whoever waits."""
        if work.isolated:
            return True
        return self.tried is not None and self.tried != {t.name for t in work.envelope.inputs}

    def put(self, work: QueuedRequest) -> None:
        """Behind all of its priority: at the end, unless what waits there is less urgent."""
        if self.waiting and self.waiting[-1].envelope.priority > work.envelope.priority:
            insort(self.waiting, work, key=_priority)
        else:
            self.waiting.append(work)


def _priority(work: QueuedRequest) -> int:
    return work.envelope.priority


def _turn(queue: ModelQueue) -> tuple[int, float]:
    """Whose turn is first: the most urgent head's, and of those the oldest's."""
    head = queue.waiting[0]
    return head.envelope.priority, head.received


def ready_at(queue: ModelQueue) -> float:
    """When the queue's head may run: at once if its batch is full, else after its wait."""
    head, limits = queue.waiting[0], queue.limits
    full = not queue.batched or queue.alone(head) or len(queue.waiting) >= limits.max_size
    return head.received if full else head.received + limits.max_wait_ms / 1000


def choose(queues: Iterable[ModelQueue], now: float) -> tuple[ModelQueue | None, float | None]:
    """The queue to serve now, or (None, when to look again); (None, None) if nothing waits.

    Among the ready ones the most urgent head wins, then the oldest.
    """
    best: ModelQueue | None = None
    soonest: float | None = None
    for queue in queues:
        at = ready_at(queue)
        if at > now:
            soonest = at if soonest is None else min(soonest, at)
        elif best is None or _turn(queue) < _turn(best):
            best = queue
    return best, None if best else soonest


def take_batch(queue: ModelQueue) -> list[QueuedRequest]:
    """Remove the next batch: the head and what fits beside it (signature, items, bytes).

    A request that is to run alone has no batch-mates. The batch is in the order of the stream, as
    `begin` needs it.
    """
    head = queue.waiting.popleft()
    batch, items, size = [head], head.items, head.size
    if not queue.batched or queue.alone(head):
        return batch
    skipped: list[QueuedRequest] = []
    while queue.waiting and items < queue.limits.max_size:
        work = queue.waiting.popleft()
        fits = (
            not work.isolated
            and work.signature == head.signature
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
    if batch[-1].envelope.priority != head.envelope.priority:
        batch.sort(key=lambda work: entry_order(work.entry))
    return batch


class Batcher:
    """All queues of a worker. Only queues that hold something are looked at."""

    def __init__(self) -> None:
        self._queues: dict[str, ModelQueue] = {}
        self._filled: dict[str, ModelQueue] = {}

    def open(self, ref: str, limits: Batching, tried: frozenset[str] | None = None) -> None:
        """Begin to take requests for a model copy, which was tried with the inputs `tried`."""
        self._queues[ref] = ModelQueue(ref, limits, tried)

    def close(self, ref: str) -> None:
        """Forget a drained queue."""
        queue = self._queues.pop(ref, None)
        assert queue is None or not queue.waiting, "this is a bug: a queue with requests was closed"

    def limit(self, ref: str, limits: Batching) -> bool:
        """From now on batches of a copy have these limits. False if it has them, or is not here."""
        queue = self._queues.get(ref)
        if queue is None or queue.limits == limits:
            return False
        queue.limits = limits
        return True

    @property
    def idle(self) -> bool:
        """Whether no request waits, of any model."""
        return not self._filled

    def put(self, work: QueuedRequest) -> bool:
        """Queue a request; False if the worker does not hold its model."""
        queue = self._queues.get(work.ref)
        if queue is None:
            return False
        queue.put(work)
        self._filled[work.ref] = queue
        return True

    def next(self, now: float) -> tuple[list[QueuedRequest], float | None]:
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
