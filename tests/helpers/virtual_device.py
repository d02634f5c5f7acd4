"""The scheduler of a worker on a virtual clock: its queues, its slots and one device."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from shared.manifest import Batching
from tests.helpers.factories import work
from worker.serving.batcher import Batcher
from worker.serving.turns import Turn, end_turn, may_start


@dataclass
class VirtualDevice:
    """`batch_s`: how long a batch of each model takes. `ran`: (ref, start, requests) of each batch;
    `waits`: by model, how long each request waited for the device, in seconds."""

    batch_s: Mapping[str, float]
    max_size: int = 1
    now: float = 0.0
    ran: list[tuple[str, float, int]] = field(default_factory=list)
    waits: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.batcher = Batcher()
        self.turns: list[Turn] = []
        self._ends = 0.0  # when the batch on the device ends
        for ref in self.batch_s:
            self.batcher.open(ref, Batching(max_size=self.max_size))

    def run(self, arrivals: Iterable[tuple[float, str]], until: float) -> None:
        """Serve the requests that arrive (moment, model), up to the moment `until`."""
        coming = sorted(arrivals)
        while self.now < until:
            while coming and coming[0][0] <= self.now:
                at, ref = coming.pop(0)
                self.batcher.put(work(ref=ref, received=at))
            self._step()
            times = [t for t in (self._ends, coming[0][0] if coming else until) if t > self.now]
            self.now = min([until, *times])

    def device_s(self, ref: str) -> float:
        """The device time that a model has had."""
        return sum(self.batch_s[ref] for each, _, _ in self.ran if each == ref)

    def _step(self) -> None:
        """As in a worker: the device takes the next batch that stands before the event loop hears
        that one has ended."""
        ended = [t for t in self.turns if t.on_device and self.now >= self._ends]
        self.turns = [t for t in self.turns if t not in ended]
        self._take_up()
        for turn in ended:
            turn.device_s = self.batch_s[turn.ref]
            self.batcher.advance([turn])
            end_turn(turn)
        self._start()
        self._take_up()
        self._start()

    def _start(self) -> None:
        while True:
            self.batcher.advance(turn for turn in self.turns if turn.on_device)
            turn, _ = self.batcher.next(self.now, may_start(self.turns))
            if turn is None:
                return
            self.turns.append(turn)

    def _take_up(self) -> None:
        if not self.turns or any(turn.on_device for turn in self.turns):
            return
        turn = min(self.turns, key=lambda turn: turn.order)
        turn.on_device = True
        self._ends = self.now + self.batch_s[turn.ref]
        self.ran.append((turn.ref, self.now, len(turn.requests)))
        self.waits[turn.ref] += [self.now - request.received for request in turn.requests]


def spread(ref: str, rate: float, until: float, start: float = 0.0) -> list[tuple[float, str]]:
    """Arrivals of a model at an even `rate` per second."""
    return [(start + n / rate, ref) for n in range(int((until - start) * rate))]
