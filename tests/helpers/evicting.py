"""A worker's device with room for 100 bytes, and copies on it that weigh what a test says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.event_log import EventLog
from shared.footprint import Footprint
from shared.manifest import Batching
from tests.helpers.cell import Cell
from tests.helpers.factories import manifest
from tests.helpers.repository import FakeRepository
from worker.residency.context import WorkerContext
from worker.residency.copies import Copy
from worker.residency.demotion import Demotion
from worker.residency.evictor import Evictor
from worker.residency.host_tier import HostTier
from worker.residency.memory_manager import MemoryManager
from worker.residency.outcome import FREED
from worker.residency.projection import LoadCandidate
from worker.serving.batch_tensors import Arrays

BUDGET = 100


def own(size: int) -> Footprint:
    """A copy that shares nothing."""
    return Footprint(frozenset(), size)


class Model:
    """A loaded model that remembers being freed."""

    bytes_resident = 0

    def __init__(self) -> None:
        self.freed = False
        self.shared: dict[str, int] = {}

    def run(self, inputs: Arrays) -> Arrays:
        return inputs

    def unload(self) -> None:
        self.freed = True


class Rooms(MemoryManager):
    """Room, asked for by reference and footprint."""

    async def made(self, ref: str, footprint: Footprint) -> bool:
        return await self.reserve(LoadCandidate(ref, footprint)) == FREED

    async def taken(self, ref: str, footprint: Footprint) -> bool:
        return await self.try_reserve(LoadCandidate(ref, footprint))

    async def corrected(self, ref: str, footprint: Footprint, evict: bool = True) -> bool:
        return await self.correct(LoadCandidate(ref, footprint), evict)


def made_evictor(
    parts: WorkerContext,
    cell: Cell,
    caught_up: Callable[[bytes, float], bool] = lambda last, since: True,
) -> Evictor:
    """An evictor without a host tier, whose reader has always caught up."""
    cache: Any = None  # nothing is kept in host memory, so nothing is asked of it
    demotion = Demotion(HostTier(0, parts.device), cache, FakeRepository())
    return Evictor(parts, caught_up, demotion, EventLog(cell.channel, cell.keys, "w1"))


async def hold(parts: WorkerContext, ref: str, size: int, **changes: Any) -> Model:
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
