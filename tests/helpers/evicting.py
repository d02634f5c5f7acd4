"""A worker's device with room for 100 bytes, and copies on it that weigh what a test says."""

from __future__ import annotations

from collections.abc import Callable

from shared.event_log import EventLog
from shared.manifest import Batching
from tests.helpers.cell import Cell
from tests.helpers.factories import manifest
from tests.helpers.repository import FakeRepository
from worker.residency.candidates import Wanted
from worker.residency.context import WorkerContext
from worker.residency.copies import Copy
from worker.residency.demotion import Demotion
from worker.residency.evictor import Evictor
from worker.residency.host_tier import HostTier
from worker.residency.ledger import Footprint
from worker.residency.memory_manager import MemoryManager

BUDGET = 100


def own(size: int) -> Footprint:
    """A copy that shares nothing."""
    return Footprint(frozenset(), size)


class Model:
    """A loaded model that remembers being freed."""

    def __init__(self) -> None:
        self.freed = False

    def unload(self) -> None:
        self.freed = True


class Rooms(MemoryManager):
    """Room, asked for by reference and footprint."""

    async def made(self, ref: str, footprint: Footprint) -> bool:
        return await self.make(Wanted(ref, footprint)) is None

    async def taken(self, ref: str, footprint: Footprint) -> bool:
        return await self.take_free(Wanted(ref, footprint))

    async def corrected(self, ref: str, footprint: Footprint, evict: bool = True) -> bool:
        return await self.correct(Wanted(ref, footprint), evict)


def made_evictor(
    parts: WorkerContext,
    cell: Cell,
    caught_up: Callable[[bytes, float], bool] = lambda last, since: True,
) -> Evictor:
    """An evictor without a host tier, whose reader has always caught up."""
    demotion = Demotion(HostTier(0, parts.device), None, FakeRepository())
    return Evictor(parts, caught_up, demotion, EventLog(cell.channel, cell.keys, "w1"))


async def hold(parts: WorkerContext, ref: str, size: int, **changes: object) -> Model:
    """A resident, announced copy."""
    model = Model()
    parts.ledger.reserve(ref, own(size))
    parts.copies.add(Copy(ref, manifest(), model, own(size), **changes))
    parts.batcher.open(ref, Batching())
    await parts.membership.announce(ref, "")
    return model


async def holders(cell: Cell, ref: str) -> int:
    """How many workers the map names."""
    return await cell.client.hlen(cell.keys.holders(ref))
