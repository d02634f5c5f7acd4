"""What caches of whole models would do on a trace of requests, one request at a time.

All models are of one size; `capacity` is how many fit. A trace is the model of each request.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np


def zipf_trace(models: int, exponent: float, requests: int, seed: int) -> list[int]:
    """Models 0 to `models` - 1 drawn by Zipf's law: the nth most popular with weight n to the
    power of -`exponent`. Which is the nth is drawn too."""
    random = np.random.default_rng(seed)
    weights = np.arange(1, models + 1) ** -exponent
    drawn = random.choice(models, requests, p=weights / weights.sum())
    found: list[int] = random.permutation(models)[drawn].tolist()
    return found


def lru_loads(trace: Sequence[int], capacity: int) -> int:
    """Loads of a cache that throws out what was used least recently."""
    held: OrderedDict[int, None] = OrderedDict()
    loads = 0
    for model in trace:
        if model in held:
            held.move_to_end(model)
            continue
        loads += 1
        held[model] = None
        if len(held) > capacity:
            held.popitem(last=False)
    return loads


def belady_loads(trace: Sequence[int], capacity: int) -> int:
    """Loads of the best cache there can be (Belady 1966): it knows the future, and throws out
    what is requested again latest."""
    wanted_next = _next_uses(trace)
    due: dict[int, int] = {}  # of what is held: when it is requested next
    latest: list[tuple[int, int]] = []  # (-when, model); entries that `due` contradicts are stale
    loads = 0
    for at, model in enumerate(trace):
        if model not in due:
            loads += 1
            if len(due) == capacity:
                _evict_latest(due, latest)
        due[model] = wanted_next[at]
        heapq.heappush(latest, (-wanted_next[at], model))
    return loads


def _evict_latest(due: dict[int, int], latest: list[tuple[int, int]]) -> None:
    while True:
        when, model = heapq.heappop(latest)
        if due.get(model) == -when:
            del due[model]
            return


def _next_uses(trace: Sequence[int]) -> list[int]:
    """For each request, the place of the next one for the same model; the trace's length if there
    is none."""
    seen: dict[int, int] = {}
    found = [len(trace)] * len(trace)
    for at in range(len(trace) - 1, -1, -1):
        found[at] = seen.get(trace[at], len(trace))
        seen[trace[at]] = at
    return found
