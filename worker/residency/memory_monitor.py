"""Monitoring the memory of the device: leaks, memory that other processes took, and slack.

A process has allocated more than the ledger knows of: the interpreter, torch, what the first calls
set up. That is normal; the normal amount is the least that was ever unaccounted for while models
were loaded and no load was under way. What grows beyond it by `limit` bytes and stays is a leak, of
a model's or a library's, which only the end of the process cures: so the process is recycled.

Each sample is taken on the device thread, between two batches: what a batch needs while it runs is
not a leak. One sample decides nothing.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from shared import clock
from worker.device.thread import DeviceThread
from worker.residency.context import WorkerContext
from worker.residency.ledger import Ledger

log = logging.getLogger(__name__)

EVERY_S = 2.0  # between two samples
SAMPLES = 5  # in a row, before a leak counts, or memory that other processes gave back
FEW_SAMPLES = 2  # before memory that other processes took counts: it is gone, so sooner
# Each load leaves some 30 objects in cycles (tasks, exceptions), and the collector rests
# for long (`shared/process.py`): megabytes would gather. A collection of the young ones takes 1 ms.
YOUNG = 1
TRIM_EVERY_S = 0.5
TRIM_IDLE_S = 0.3  # without a call, before the heap is walked: a trim of 500 MiB takes 50 ms
TRIM_BYTES = 2 << 20  # less is not worth a trim


@dataclass(frozen=True)
class Leak:
    """The samples so far, in bytes: the least that was ever unaccounted for (None: not known yet),
    and the last few, oldest first."""

    least: int | None = None
    last: tuple[int, ...] = ()

    def observed(self, unaccounted: int, settled: bool) -> Leak:
        """The samples with one more. `settled`: models are loaded and no load is under way. Else a
        reservation counts as allocated before it is, and libraries may not be set up yet."""
        unaccounted = max(0, unaccounted)
        least = self.least
        if settled:
            least = unaccounted if least is None else min(least, unaccounted)
        return Leak(least, (*self.last, unaccounted)[-SAMPLES:])

    @property
    def now(self) -> int:
        """Bytes beyond the normal amount in the last sample."""
        return max(0, self.last[-1] - self.least) if self.last and self.least is not None else 0

    @property
    def sure(self) -> int:
        """Bytes beyond the normal amount in every one of the last samples."""
        if self.least is None or len(self.last) < SAMPLES:
            return 0
        return max(0, min(self.last) - self.least)


def budget_after(budget: int, capacities: tuple[int, ...]) -> int:
    """The budget to go on with, given what the device allowed in the last samples, oldest first.

    It falls once two samples agree, and rises when several do, so that what comes and goes evicts
    nothing. Once it changes it is never more than the last sample.
    """
    if len(capacities) >= FEW_SAMPLES and (most := max(capacities[-FEW_SAMPLES:])) < budget:
        return most
    if len(capacities) >= SAMPLES and (least := min(capacities[-SAMPLES:])) > budget:
        return least
    return budget


class Gauges(Protocol):
    """The part of a device that the monitor needs."""

    def allocated(self) -> int:
        """Bytes that this process has allocated on it."""

    def trim(self) -> None:
        """Return memory that allocators hold back unused to the system."""

    def relieve(self) -> int:
        """Return cached memory to the driver if the device is short of memory; the bytes."""


class MemoryMonitor:
    """Samples the memory; `run_once` every EVERY_S.

    `accounted()`: bytes of `device.allocated()` that are known of; `settled()`: models are loaded
    and no load is under way; both run on the device thread. `capacity()`: the budget that the
    device allows now; it may block. `limit`: bytes, 0 to never recycle. `recycle(why)` requests a
    new process, False if that is not allowed now. `resize(budget)` sets the ledger's budget,
    between two plans that rely on it, and evicts idle copies that are over it.
    """

    def __init__(
        self, device: Gauges, thread: DeviceThread, ledger: Ledger, limit: int, *,
        accounted: Callable[[], int], settled: Callable[[], bool], capacity: Callable[[], int],
        recycle: Callable[[str], bool], resize: Callable[[int], Awaitable[object]],
    ) -> None:  # fmt: skip
        self._device = device
        self._thread = thread
        self._ledger = ledger
        self._limit = limit
        self._accounted, self._settled, self._capacity = accounted, settled, capacity
        self._recycle, self._resize = recycle, resize
        self._leak = Leak()
        self._capacities: tuple[int, ...] = ()

    @property
    def unaccounted(self) -> int:
        """Unaccounted bytes beyond the normal amount, in the last sample."""
        return self._leak.now

    async def run_once(self) -> int:
        """Take one sample and act on it; the unaccounted bytes."""
        gc.collect(YOUNG)
        self._leak = await self._thread.run(self._sample)
        if 0 < self._limit < self._leak.sure:
            self._request_restart()
        await self._follow_capacity()
        return self.unaccounted

    def _sample(self) -> Leak:
        """On the device thread. What an allocator only keeps for the next call is not a leak: it is
        trimmed before it counts."""
        leak = self._leak.observed(*self._figures())
        if 0 < self._limit < leak.now:
            self._device.trim()
            leak = self._leak.observed(*self._figures())
        return leak

    def _figures(self) -> tuple[int, bool]:
        return self._device.allocated() - self._accounted(), self._settled()

    def _request_restart(self) -> None:
        megabytes, allowed = self._leak.sure // 1_000_000, self._limit // 1_000_000
        why = f"{megabytes} MB that no model accounts for, at most {allowed} MB are allowed"
        if self._recycle(why):
            log.warning("this process is replaced by a new one: %s", why)

    async def _follow_capacity(self) -> None:
        if returned := await asyncio.to_thread(self._device.relieve):
            log.info("the device is short of memory: %d MB of cache freed", returned // 1_000_000)
        capacity = await asyncio.to_thread(self._capacity)
        self._capacities = (*self._capacities, max(0, capacity))[-SAMPLES:]
        budget = budget_after(self._ledger.budget, self._capacities)
        if budget != self._ledger.budget:
            log.info("the budget is now %d MB", budget // 1_000_000)
        # What was in use in the last round may be idle now.
        if budget != self._ledger.budget or self._ledger.used > budget:
            await self._resize(budget)


class IdleTrimmer:
    """Returns what calls and loads have freed to the system, in idle moments.

    While a worker computes its heap keeps that for the next call: new pages would cost more than
    the call itself. An idle worker keeps nothing that others on the machine could use."""

    def __init__(self, context: WorkerContext) -> None:
        self._copies = context.copies
        self._device = context.device
        self._gauge = context.gauge
        self._thread = context.thread

    async def run_once(self) -> int:
        """Trim if the worker is idle; the bytes that were returned, 0 if it is not."""
        if not self._idle():
            return 0
        slack = self._device.slack()
        if slack < TRIM_BYTES:
            return 0
        await self._thread.run(self._device.trim)
        return slack

    def _idle(self) -> bool:
        before = clock.monotonic() - TRIM_IDLE_S
        resting = all(not c.running and c.last_used < before for c in self._copies.all())
        return resting and self._gauge.quiet
