"""Eviction policies, by name: the worth of each copy on the device. Pure: no clock, no I/O.

A policy is informed of every load, use and eviction on its worker, and ranks the copies that could
be evicted. What it does not decide (pins, copies in use, priorities, minimum residency, bytes) is
in `eviction.py`.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from shared.errors import ConfigError
from worker.residency.projection import Resident

# Loads per resident after which an old use counts half. Measured on Zipf 0.8 and 1.1, slow and
# sudden shifts, and scans: 1 forgets too soon for the first, 4 too late for the second.
HALF_LIFE = 2.0
# Evicted models whose uses are remembered; beyond that the one evicted first is forgotten.
REMEMBERED = 1000
# One load says little about what the next will take: others ran beside it. So a model is assumed to
# load at the usual pace, and each of its own loads moves that by a quarter of the difference. With
# times that vary by a factor of two, using the last one only costs a tenth more loads.
TRUST = 0.25
USUAL = 0.1
# A load takes as long as one of so many more bytes would: connections, a program's setup. Else the
# pace of small files says nothing of large ones (28 ms for 10 kB, 75 ms for 3 MB): after a few of
# them a model used twice outlived its equal used six times. Simulated on sizes of 10 kB to 1 GB it
# saves a tenth of all loads; 1 MB saves half as much, 16 MB little more.
SETUP_BYTES = 4_000_000
LEAST_S = 0.001


class EvictionPolicy(Protocol):
    """Ranks residents. `now` and all times are seconds of the worker's clock."""

    def loaded(self, ref: str, cost_s: float, bytes: int, now: float) -> None:
        """A copy was loaded in `cost_s` seconds, and takes `bytes`."""

    def used(self, ref: str, now: float, count: int) -> None:
        """A batch of `count` requests runs on a copy."""

    def evicted(self, ref: str) -> None:
        """A copy was evicted."""

    def rank(self, resident: Resident) -> float:
        """The worth of a copy; the lowest is evicted first."""


class Lru:
    """Evicts the least recently used copy first."""

    def loaded(self, ref: str, cost_s: float, bytes: int, now: float) -> None:
        """Not needed."""

    def used(self, ref: str, now: float, count: int) -> None:
        """Not needed: a resident carries its last use."""

    def evicted(self, ref: str) -> None:
        """Not needed."""

    def rank(self, resident: Resident) -> float:
        """The time of its last use."""
        return resident.last_used


@dataclass
class Record:
    """Uses of one model, as counted when the level was `level`; the pace of its loads as the log of
    seconds per byte (`SETUP_BYTES` among them), and its bytes."""

    uses: float
    level: float
    pace: float | None = None
    bytes: int = 0


class GreedyDual:
    """Evicts the copy first that saves the fewest seconds of loading per byte: uses x reload
    seconds / bytes.

    As in greedy-dual-size-frequency a level rises with each eviction, so that recent uses outweigh
    old ones. Here the level multiplies (a use weighs 2^level) instead of being added: with n
    residents an old use counts half after `HALF_LIFE` x n evictions. Without evictions nothing
    ages, however long or busy the day. A batch is one use: without the copy its requests would have
    shared one load. The uses of evicted models are remembered for when they are loaded again.
    """

    def __init__(self) -> None:
        self._here: dict[str, Record] = {}
        self._left: OrderedDict[str, Record] = OrderedDict()
        self._level = 0.0
        self._usual: float | None = None  # the pace of the loads here

    def loaded(self, ref: str, cost_s: float, bytes: int, now: float) -> None:
        """A model that was loaded before keeps its uses and its pace."""
        record = self._record(ref)
        pace = _pace(cost_s, bytes)
        usual = pace if self._usual is None else self._usual
        self._usual = usual + USUAL * (pace - usual)
        before = usual if record.pace is None else record.pace
        record.pace, record.bytes = before + TRUST * (pace - before), bytes

    def used(self, ref: str, now: float, count: int) -> None:
        """Count one use, whatever `count`."""
        record = self._record(ref)
        record.uses, record.level = self._faded(record) + 1, self._level

    def evicted(self, ref: str) -> None:
        """Raise the level, and remember the model."""
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
        return self._faded(record) * math.exp(record.pace) * (record.bytes + SETUP_BYTES) / size

    def _record(self, ref: str) -> Record:
        if ref in self._left:
            self._here[ref] = self._left.pop(ref)
        return self._here.setdefault(ref, Record(0.0, self._level))

    def _faded(self, record: Record) -> float:
        return float(record.uses * 2.0 ** (record.level - self._level))


def _pace(cost_s: float, size: int) -> float:
    return math.log(max(cost_s, LEAST_S) / (size + SETUP_BYTES))


POLICIES: dict[str, Callable[[], EvictionPolicy]] = {"greedy_dual": GreedyDual, "lru": Lru}


def policy_of(name: str) -> EvictionPolicy:
    """A new policy of that name; ConfigError names the choices."""
    if name not in POLICIES:
        raise ConfigError(f"WARMROUTE_EVICTION: {name!r}, want one of {', '.join(POLICIES)}")
    return POLICIES[name]()
