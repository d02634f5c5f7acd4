"""The choice of the next batch: per-model queues, and a pure choice among them.

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
    """Requests of one model that wait for the device, in the order to serve them. `tried`: names of
    the inputs with which the copy was tried; a request with other inputs runs alone. None: any."""

    ref: str
    limits: Batching
    tried: frozenset[str] | None = None
    waiting: deque[QueuedRequest] = field(default_factory=deque)

    @property
    def batched(self) -> bool:
        return self.limits.max_size > 1

    def runs_alone(self, request: QueuedRequest) -> bool:
        """Whether a request must not share a batch."""
        if request.isolated:
            return True
        return self.tried is not None and self.tried != {t.name for t in request.envelope.inputs}

    def put(self, request: QueuedRequest) -> None:
        """Queue a request behind all of its priority, before less urgent ones."""
        if self.waiting and self.waiting[-1].envelope.priority > request.envelope.priority:
            insort(self.waiting, request, key=_priority)
        else:
            self.waiting.append(request)


def _priority(request: QueuedRequest) -> int:
    return request.envelope.priority


def _turn(queue: ModelQueue) -> tuple[int, float]:
    """The sort key of a queue: its head's priority, then the head's age (the oldest first)."""
    head = queue.waiting[0]
    return head.envelope.priority, head.received


def ready_at(queue: ModelQueue) -> float:
    """The moment at which the queue's head may run: at once if its batch is full, else after its
    wait."""
    head, limits = queue.waiting[0], queue.limits
    full = not queue.batched or queue.runs_alone(head) or len(queue.waiting) >= limits.max_size
    return head.received if full else head.received + limits.max_wait_ms / 1000


def choose(queues: Iterable[ModelQueue], now: float) -> tuple[ModelQueue | None, float | None]:
    """The queue to serve now, or (None, the moment to look again); (None, None) if nothing waits.

    Among queues that are ready the most urgent head wins, then the oldest.
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
    """Remove the next batch: the head and the requests that fit beside it (signature, items,
    bytes).

    A request that is to run alone has no batch-mates. The batch is in the order of the stream, as
    `begin` needs it.
    """
    head = queue.waiting.popleft()
    batch, items, size = [head], head.items, head.size
    if not queue.batched or queue.runs_alone(head):
        return batch
    skipped: list[QueuedRequest] = []
    while queue.waiting and items < queue.limits.max_size:
        request = queue.waiting.popleft()
        fits = (
            not request.isolated
            and request.signature == head.signature
            and request.envelope.outputs == head.envelope.outputs
            and items + request.items <= queue.limits.max_size
            and size + request.size <= queue.limits.max_bytes
        )
        if not fits:
            skipped.append(request)
            continue
        batch.append(request)
        items, size = items + request.items, size + request.size
    queue.waiting.extendleft(reversed(skipped))
    if batch[-1].envelope.priority != head.envelope.priority:
        batch.sort(key=lambda request: entry_order(request.entry))
    return batch


class Batcher:
    """All queues of a worker. Only queues that hold something are looked at."""

    def __init__(self) -> None:
        self._queues: dict[str, ModelQueue] = {}
        self._filled: dict[str, ModelQueue] = {}

    def open(self, ref: str, limits: Batching, tried: frozenset[str] | None = None) -> None:
        """Accept requests for a model copy, which was tried with the inputs `tried`."""
        self._queues[ref] = ModelQueue(ref, limits, tried)

    def close(self, ref: str) -> None:
        """Remove a drained queue."""
        queue = self._queues.pop(ref, None)
        assert queue is None or not queue.waiting, "this is a bug: a queue with requests was closed"

    def limit(self, ref: str, limits: Batching) -> bool:
        """Set the limits of a copy's batches. False if they are in force, or there is no copy."""
        queue = self._queues.get(ref)
        if queue is None or queue.limits == limits:
            return False
        queue.limits = limits
        return True

    @property
    def idle(self) -> bool:
        """Whether no request of any model waits."""
        return not self._filled

    def put(self, request: QueuedRequest) -> bool:
        """Queue a request; False if the worker does not hold its model."""
        queue = self._queues.get(request.ref)
        if queue is None:
            return False
        queue.put(request)
        self._filled[request.ref] = queue
        return True

    def next(self, now: float) -> tuple[list[QueuedRequest], float | None]:
        """The next batch; [] and the moment to look again if none is ready."""
        queue, again = choose(self._filled.values(), now)
        if queue is None:
            return [], again
        batch = take_batch(queue)
        if not queue.waiting:
            del self._filled[queue.ref]
        return batch, None

    def waiting(self, ref: str) -> int:
        """The number of waiting requests of a model."""
        queue = self._queues.get(ref)
        return len(queue.waiting) if queue else 0
