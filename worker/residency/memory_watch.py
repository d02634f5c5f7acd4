"""Memory that nobody answers for, and memory that others took: looked at every few seconds.

What a process has allocated is more than the ledger knows of: the interpreter, torch, what the
first calls set up. That much is normal; it is the least that was ever seen unaccounted for while
models were here and none was on its way. What grows beyond it by `limit` bytes and stays is a leak,
of a model's or a library's, which only the end of the process mends. So the process is renewed.

Each look is taken on the device thread, between two batches: what a batch needs while it runs is
no leak. One look decides nothing.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from worker.device.thread import DeviceThread
from worker.residency.ledger import Ledger

log = logging.getLogger(__name__)

EVERY_S = 2.0  # between two looks
LOOKS = 5  # in a row, to believe in a leak, or in memory that others gave back
FEW_LOOKS = 2  # to believe that others took memory: it is gone, so sooner
# Each load leaves some 30 objects in cycles (tasks, exceptions, RQ's jobs), and the collector rests
# for long (`shared/process.py`): megabytes would gather. A look at the young ones takes about 1 ms.
YOUNG = 1


@dataclass(frozen=True)
class Leak:
    """What earlier looks have shown: the least that was ever unaccounted for (None: not known yet),
    and the last few, oldest first. Bytes."""

    least: int | None = None
    last: tuple[int, ...] = ()

    def seen(self, unaccounted: int, settled: bool) -> Leak:
        """After one more look. `settled`: models are here and none is on its way. Else a
        reservation counts as allocated before it is, and libraries may not be set up yet."""
        unaccounted = max(0, unaccounted)
        least = self.least
        if settled:
            least = unaccounted if least is None else min(least, unaccounted)
        return Leak(least, (*self.last, unaccounted)[-LOOKS:])

    @property
    def now(self) -> int:
        """What the last look showed beyond the normal."""
        return max(0, self.last[-1] - self.least) if self.last and self.least is not None else 0

    @property
    def sure(self) -> int:
        """What every one of the last looks showed beyond the normal."""
        if self.least is None or len(self.last) < LOOKS:
            return 0
        return max(0, min(self.last) - self.least)


def budget_after(budget: int, rooms: tuple[int, ...]) -> int:
    """The budget to go on with, given what there was room for in the last looks, oldest first.

    It falls to what there is once two looks agree, and rises when several do, so that what comes
    and goes evicts nobody. Never more than the last look has shown, once it changes.
    """
    if len(rooms) >= FEW_LOOKS and (most := max(rooms[-FEW_LOOKS:])) < budget:
        return most
    if len(rooms) >= LOOKS and (least := min(rooms[-LOOKS:])) > budget:
        return least
    return budget


class Gauges(Protocol):
    """What is asked of a device."""

    def allocated(self) -> int:
        """Bytes that this process holds of it."""

    def trim(self) -> None:
        """Give memory that allocators hold back, but nobody uses, to the system."""


class MemoryWatch:
    """`run_once` every EVERY_S.

    `accounted()`: bytes of `device.allocated()` that are known of; `settled()`: models are here and
    none is on its way; both are asked on the device thread. `room()`: the budget that the device
    allows just now; it may block. `limit`: bytes, 0 to never renew. `renew(why)` asks for a new
    process, False if that is held back. `resize(budget)` sets the ledger's budget, between two
    plans that rely on it, and evicts what is over and not in use.
    """

    def __init__(
        self, device: Gauges, thread: DeviceThread, ledger: Ledger, limit: int, *,
        accounted: Callable[[], int], settled: Callable[[], bool], room: Callable[[], int],
        renew: Callable[[str], bool], resize: Callable[[int], Awaitable[object]],
    ) -> None:  # fmt: skip
        self._device = device
        self._thread = thread
        self._ledger = ledger
        self._limit = limit
        self._accounted, self._settled, self._room = accounted, settled, room
        self._renew, self._resize = renew, resize
        self._leak = Leak()
        self._rooms: tuple[int, ...] = ()

    @property
    def unaccounted(self) -> int:
        """Bytes that nobody answers for, beyond what is normal, as of the last look."""
        return self._leak.now

    async def run_once(self) -> int:
        """One look, and what follows from it; the bytes that nobody answers for."""
        gc.collect(YOUNG)
        self._leak = await self._thread.run(self._look)
        if 0 < self._limit < self._leak.sure:
            self._ask()
        await self._follow_the_room()
        return self.unaccounted

    def _look(self) -> Leak:
        """On the device thread. What an allocator only keeps for the next call is no leak either:
        it is asked to give that up before it counts."""
        leak = self._leak.seen(*self._figures())
        if 0 < self._limit < leak.now:
            self._device.trim()
            leak = self._leak.seen(*self._figures())
        return leak

    def _figures(self) -> tuple[int, bool]:
        return self._device.allocated() - self._accounted(), self._settled()

    def _ask(self) -> None:
        megabytes, allowed = self._leak.sure // 1_000_000, self._limit // 1_000_000
        why = f"{megabytes} MB that no model accounts for, at most {allowed} MB are allowed"
        if self._renew(why):
            log.warning("this process is replaced by a new one: %s", why)

    async def _follow_the_room(self) -> None:
        room = await asyncio.to_thread(self._room)
        self._rooms = (*self._rooms, max(0, room))[-LOOKS:]
        budget = budget_after(self._ledger.budget, self._rooms)
        if budget != self._ledger.budget:
            log.info("the budget is %d MB now", budget // 1_000_000)
        # What was in use the last time may be idle now.
        if budget != self._ledger.budget or self._ledger.used > budget:
            await self._resize(budget)
