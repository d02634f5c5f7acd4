"""A worker that serves one model of a test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared import retry
from shared.channel import Channel
from tests.helpers.cell import Cell
from tests.helpers.consuming import Worker
from tests.helpers.evicting import BUDGET, Rooms, made_evictor
from tests.helpers.loading import LoadingWorker
from worker.device.thread import DeviceThread
from worker.loading import loader
from worker.membership import Membership
from worker.residency.context import WorkerContext
from worker.residency.copies import Copies
from worker.residency.evictor import Evictor
from worker.residency.ledger import Ledger
from worker.serving.batcher import Batcher


@pytest.fixture
async def worker(cell: Cell) -> AsyncIterator[Worker]:
    """Registered; its loops are started by the tests."""
    await cell.gateway()
    reads = Channel(cell.url)
    made = Worker(cell, reads)
    await made.context.membership.register()
    yield made
    await made.supervisor.stop()
    await made.consumer.drain()
    await reads.aclose()
    made.context.thread.close()


@pytest.fixture
async def parts(cell: Cell) -> AsyncIterator[WorkerContext]:
    """A registered worker w1 with room for 100 bytes."""
    copies = Copies()
    member = Membership(cell.scripts, "w1", 10, 3, dict, copies.held)
    await member.register()
    made = WorkerContext(
        scripts=cell.scripts, membership=member, copies=copies, batcher=Batcher(),
        ledger=Ledger(BUDGET), thread=DeviceThread(),
    )  # fmt: skip
    yield made
    made.thread.close()


@pytest.fixture
def evictor(parts: WorkerContext, cell: Cell) -> Evictor:
    """An evictor whose reader has always caught up."""
    return made_evictor(parts, cell)


@pytest.fixture
def room(parts: WorkerContext, evictor: Evictor) -> Rooms:
    """What makes room with it."""
    return Rooms(parts, evictor)


@pytest.fixture
async def loading(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LoadingWorker]:
    """A registered worker that loads, in no time."""
    monkeypatch.setattr(loader, "PAUSE_S", 0.001)
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.001)
    await cell.gateway()
    made = LoadingWorker(cell)
    await made.start()
    yield made
    await made.stop()
