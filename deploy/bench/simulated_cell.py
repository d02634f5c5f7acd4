"""One cell of the simulator of many cells: its workers, their memory and the queues on them.

Modelled after the scripts, in plain Python, so that ten thousand workers fit: a warm request goes
to the least busy of up to 16 holders, a cold one to the least busy of 32 workers, which loads the
model and evicts what it has not used for the longest time; a queue that is longer than a load
orders another copy, one at a time. Not modelled: tiers below the device, sessions, priorities,
batches, failures. A load takes no time of the device, and each request the same.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

HOLDERS, WORKERS = 16, 32  # that a choice looks at


@dataclass(frozen=True)
class Times:
    """Seconds: of a request on a device, of a load, and the longest wait before it is refused."""

    service_s: float = 0.5
    load_s: float = 2.0
    patience_s: float = 30.0


@dataclass
class Counts:
    """What became of requests."""

    asked: int = 0
    warm: int = 0
    refused: int = 0
    loads: int = 0


class SimulatedCell:
    """Models are numbers; sizes and `budget` (of each worker) have one unit, whatever it is."""

    def __init__(self, workers: int, budget: float, times: Times, seed: int) -> None:
        self.workers = workers
        self.counts = Counts()
        self._budget = budget
        self._times = times
        self._dice = random.Random(seed)
        # Of each worker: its copies, the one that was used last at the end.
        self._held: list[dict[int, float]] = [{} for _ in range(workers)]
        self._used = [0.0] * workers
        self._busy_until = [0.0] * workers
        self._holders: dict[int, list[int]] = {}
        self._loaded_at: dict[int, float] = {}  # the last load of a model

    def ask(self, model: int, size: float, now: float) -> None:
        """A request for a model."""
        self.counts.asked += 1
        holders = self._holders.get(model)
        if not holders:
            self._serve(self._load(model, size, now), model, now + self._times.load_s)
            return
        worker = self._least_busy(self._some(holders), now)
        wait = self._busy_until[worker] - now
        is_loading = self._loaded_at[model] > now
        if wait > self._times.load_s and not is_loading:
            self._load(model, size, now)
        if wait > self._times.patience_s:
            self.counts.refused += 1
            return
        self.counts.warm += not is_loading or len(holders) > 1
        self._serve(worker, model, now)

    @property
    def held(self) -> float:
        """Of the memory of its workers, how much copies take."""
        return sum(self._used)

    def size_held(self, models: set[int]) -> float:
        """How much the copies of some models take."""
        copies = (copy for held in self._held for copy in held.items())
        return sum(size for model, size in copies if model in models)

    def _some(self, holders: list[int]) -> list[int]:
        """Up to HOLDERS of them, in any order."""
        one = len(holders) == 1
        return holders if one else self._dice.sample(holders, min(len(holders), HOLDERS))

    def _least_busy(self, workers: list[int], now: float) -> int:
        """The first one that is idle, else the one that is free the soonest."""
        best = workers[0]
        for worker in workers:
            if self._busy_until[worker] <= now:
                return worker
            if self._busy_until[worker] < self._busy_until[best]:
                best = worker
        return best

    def _serve(self, worker: int, model: int, ready: float) -> None:
        held = self._held[worker]
        held[model] = held.pop(model)
        self._busy_until[worker] = max(ready, self._busy_until[worker]) + self._times.service_s

    def _load(self, model: int, size: float, now: float) -> int:
        """A copy on the least busy worker of a sample; which one."""
        drawn = [int(self._dice.random() * self.workers) for _ in range(WORKERS)]
        worker = self._least_busy(drawn, now)
        held = self._held[worker]
        if model in held:
            return worker
        while held and self._used[worker] + size > self._budget:
            self._evict(worker)
        held[model] = size
        self._used[worker] += size
        self._holders.setdefault(model, []).append(worker)
        self._loaded_at[model] = now + self._times.load_s
        self.counts.loads += 1
        return worker

    def _evict(self, worker: int) -> None:
        oldest = next(iter(self._held[worker]))
        self._used[worker] -= self._held[worker].pop(oldest)
        self._holders[oldest].remove(worker)
        if not self._holders[oldest]:
            del self._holders[oldest]
