"""Who is worth least on the device: eviction policies, by name. Pure: no clock, nothing written.

A policy is told of every load, use and eviction on its worker, and ranks who could go. What it may
not decide (pins, copies in use, priorities, minimum residency, bytes) is in `eviction.py`.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from shared.errors import ConfigError
from worker.residency.candidates import Resident

# Loads per resident after which an old use counts half. Measured on Zipf 0.8 and 1.1, slow and
# sudden shifts, and scans: 1 forgets too soon for the first, 4 too late for the second.
HALF_LIFE = 2.0
# Models that left and whose uses are still known; beyond that the one that left first is forgotten.
REMEMBERED = 1000
# One load says little about what the next will take: others ran beside it. So a model is taken to
# load at the usual pace, and each of its own loads moves that a quarter of the way. With times that
# vary by a factor of two, believing the last one costs a tenth more loads.
TRUST = 0.25
USUAL = 0.1
LEAST_S = 0.001


class EvictionPolicy(Protocol):
    """Ranks residents. `now` and all times are seconds of the worker's clock."""

    def loaded(self, ref: str, cost_s: float, bytes: int, now: float) -> None:
        """A copy is here: bringing it took `cost_s`, and it takes `bytes`."""

    def used(self, ref: str, now: float, count: int) -> None:
        """A batch of `count` requests was taken for a copy."""

    def evicted(self, ref: str) -> None:
        """A copy is gone."""

    def rank(self, resident: Resident) -> float:
        """Lower goes first."""


class Lru:
    """Least recently used first."""

    def loaded(self, ref: str, cost_s: float, bytes: int, now: float) -> None:
        """Tells nothing."""

    def used(self, ref: str, now: float, count: int) -> None:
        """The resident knows its last use."""

    def evicted(self, ref: str) -> None:
        """Tells nothing."""

    def rank(self, resident: Resident) -> float:
        """The time of its last use."""
        return resident.last_used


@dataclass
class Record:
    """Uses of one model, as counted when the level was `level`; the pace of its loads as the log of
    seconds per byte, and its bytes."""

    uses: float
    level: float
    pace: float | None = None
    bytes: int = 0


class GreedyDual:
    """Least seconds of loading saved per byte first: uses x reload seconds / bytes.

    As in greedy-dual-size-frequency a level rises with each eviction, so that what is used now
    outweighs what was used once. Here the level multiplies (a use weighs 2^level) instead of being
    added: with n residents an old use counts half after `HALF_LIFE` x n evictions. Where nothing
    has to leave nothing ages, however long or busy the day. A batch is one use: had its model been
    away, its requests would have shared one load. The uses of who left are remembered, so that a
    model that returns is no stranger.
    """

    def __init__(self) -> None:
        self._here: dict[str, Record] = {}
        self._left: OrderedDict[str, Record] = OrderedDict()
        self._level = 0.0
        self._usual: float | None = None  # the pace of the loads here

    def loaded(self, ref: str, cost_s: float, bytes: int, now: float) -> None:
        """It keeps the uses and the pace that it had when it left."""
        record = self._record(ref)
        pace = _pace(cost_s, bytes)
        usual = pace if self._usual is None else self._usual
        self._usual = usual + USUAL * (pace - usual)
        known = usual if record.pace is None else record.pace
        record.pace, record.bytes = known + TRUST * (pace - known), bytes

    def used(self, ref: str, now: float, count: int) -> None:
        """One more use, whatever `count`."""
        record = self._record(ref)
        record.uses, record.level = self._faded(record) + 1, self._level

    def evicted(self, ref: str) -> None:
        """The level rises; the model is remembered."""
        record = self._here.get(ref)
        if record is None:
            return
        self._level += 1 / (HALF_LIFE * len(self._here))
        self._left[ref] = self._here.pop(ref)
        if len(self._left) > REMEMBERED:
            self._left.popitem(last=False)

    def rank(self, resident: Resident) -> float:
        """Seconds of loading per byte that its uses saved, the old ones faded."""
        record = self._here.get(resident.ref) or Record(0.0, self._level)
        size = max(resident.bytes or record.bytes, 1)
        if record.pace is None:
            return self._faded(record) * max(resident.reload_s, LEAST_S) / size
        return self._faded(record) * math.exp(record.pace) * max(record.bytes, 1) / size

    def _record(self, ref: str) -> Record:
        if ref in self._left:
            self._here[ref] = self._left.pop(ref)
        return self._here.setdefault(ref, Record(0.0, self._level))

    def _faded(self, record: Record) -> float:
        return float(record.uses * 2.0 ** (record.level - self._level))


def _pace(cost_s: float, size: int) -> float:
    return math.log(max(cost_s, LEAST_S) / max(size, 1))


POLICIES: dict[str, Callable[[], EvictionPolicy]] = {"greedy_dual": GreedyDual, "lru": Lru}


def policy_of(name: str) -> EvictionPolicy:
    """A new policy of that name; ConfigError names the choices."""
    if name not in POLICIES:
        raise ConfigError(f"WARMROUTE_EVICTION: {name!r}, want one of {', '.join(POLICIES)}")
    return POLICIES[name]()
