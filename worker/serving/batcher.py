"""The choice of the next batch: per-model queues, and a pure choice among them.

While the device is busy requests gather, so batches grow with load and a lone request never waits
(unless its manifest asks for `max_wait_ms`). Among models the share of device time decides
(`turns.py`). Within a model, and among models with equal shares, the lower priority number goes
first, then age. A priority from 6 on gives way to all others, until its deadline if need be.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from shared.manifest import Batching
from worker.serving.queued_request import QueuedRequest, entry_order
from worker.serving.turns import ALWAYS, Order, Share, Turn, take_turn, urgency


@dataclass
class ModelQueue:
    """Requests of one model that wait for the device, in the order to serve them. `tried`: names of
    the inputs with which the copy was tried; a request with other inputs runs alone. None: any.
    `put_off`: requests that were read and are to be read again, when there is memory for them."""

    ref: str
    limits: Batching
    tried: frozenset[str] | None = None
    waiting: deque[QueuedRequest] = field(default_factory=deque)
    share: Share = field(default_factory=Share)
    put_off: int = 0

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


def order_of(queue: ModelQueue, time: float) -> Order:
    """The order of the queue's next batch at the virtual `time`."""
    return urgency(queue.waiting[0].envelope.priority), max(time, queue.share.end)


def _rank(queue: ModelQueue, time: float) -> tuple[Order, int, float]:
    """The sort key of a queue: its order, its head's priority, then the head's age."""
    head = queue.waiting[0]
    return order_of(queue, time), head.envelope.priority, head.received


def ready_at(queue: ModelQueue) -> float:
    """The moment at which the queue's head may run: at once if its batch is full, else after its
    wait."""
    head, limits = queue.waiting[0], queue.limits
    full = not queue.batched or queue.runs_alone(head) or len(queue.waiting) >= limits.max_size
    return head.received if full else head.received + limits.max_wait_ms / 1000


def choose(
    queues: Iterable[ModelQueue], now: float, time: float = 0.0, before: Order = ALWAYS
) -> tuple[ModelQueue | None, float | None]:
    """The queue to serve now, or (None, the moment to look again); (None, None) if nothing waits.

    Among queues that are ready the one furthest below its share at the virtual `time` wins, then
    the most urgent head, then the oldest. Only a queue whose order is lower than `before` is
    served.
    """
    best: ModelQueue | None = None
    soonest: float | None = None
    for queue in queues:
        at = ready_at(queue)
        if not order_of(queue, time) < before:
            continue
        if at > now:
            soonest = at if soonest is None else min(soonest, at)
        elif best is None or _rank(queue, time) < _rank(best, time):
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
        self._time = 0.0  # virtual: the latest start of a batch on the device

    def open(self, ref: str, limits: Batching, tried: frozenset[str] | None = None) -> None:
        """Accept requests for a model copy, which was tried with the inputs `tried`."""
        self._queues[ref] = ModelQueue(ref, limits, tried)

    def close(self, ref: str) -> None:
        """Remove a drained queue."""
        queue = self._queues.pop(ref, None)
        empty = queue is None or not (queue.waiting or queue.put_off)
        assert empty, "this is a bug: a queue with requests was closed"

    def limit(self, ref: str, limits: Batching) -> bool:
        """Set the limits of a copy's batches. False if they are in force, or there is no copy."""
        queue = self._queues.get(ref)
        if queue is None or queue.limits == limits:
            return False
        queue.limits = limits
        return True

    @property
    def models(self) -> int:
        """How many models requests are accepted for."""
        return len(self._queues)

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

    def put_off(self, ref: str) -> bool:
        """Count a request that is to be read again; False if the worker does not hold its model."""
        queue = self._queues.get(ref)
        if queue is None:
            return False
        queue.put_off += 1
        return True

    def read_again(self, ref: str) -> None:
        """A request that was put off was read, or has gone."""
        if queue := self._queues.get(ref):
            queue.put_off -= 1

    def next(self, now: float, before: Order = ALWAYS) -> tuple[Turn | None, float | None]:
        """The next batch whose order is lower than `before`; None and the moment to look again if
        none is ready."""
        queue, again = choose(self._filled.values(), now, self._time, before)
        if queue is None:
            return None, again
        first = queue.waiting[0].envelope.priority
        batch = take_batch(queue)
        if not queue.waiting:
            del self._filled[queue.ref]
        return take_turn(queue.share, self._time, batch, first), None

    def advance(self, turns: Iterable[Turn]) -> None:
        """Batches that are on the device, or were: virtual time does not go back behind them."""
        for turn in turns:
            self._time = max(self._time, turn.order[1])

    def waiting(self, ref: str) -> int:
        """The number of waiting requests of a model, with those that are to be read again."""
        queue = self._queues.get(ref)
        return len(queue.waiting) + queue.put_off if queue else 0
