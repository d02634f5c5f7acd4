"""The inner parts of a gateway, put together without its doors."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from router.catalog.catalog import Catalog
from router.fleet.load_status import LoadStatus
from router.requests.dispatch import Dispatch
from router.requests.intake import Intake
from router.requests.outcome_log import FailureLog, RecentOutcomes
from router.requests.records import Records
from router.requests.shared_memory import GatewaySharedMemory
from router.requests.waiters import Waiters
from router.rest.error_responses import STATUS
from router.stream.ingress import Ingress
from router.v2.json_processes import JsonProcesses
from shared.channel import Channel
from shared.config import RouterConfig
from shared.placed import Limits
from shared.service import Loop, Supervisor
from tests.helpers.cell import WIDE, Cell
from tests.helpers.factories import manifest
from tests.helpers.repository import FakeRepository

GATEWAY = "gw1"


class Parts:
    """One gateway of a cell, whose reply reader runs."""

    def __init__(self, cell: Cell, limits: Limits = WIDE, gateway: str = GATEWAY) -> None:
        self.cell = cell
        self.replies = Channel(cell.url)
        self.waiters = Waiters(self.replies, cell.keys, gateway)
        store = GatewaySharedMemory(cell.channel, cell.keys, gateway, None, 0)
        self.recent = RecentOutcomes(cell.scripts, 100)
        self.failures = FailureLog(cell.channel, cell.keys, gateway, self.recent, STATUS)
        self.dispatch = Dispatch(
            gateway,
            cell.keys,
            cell.scripts,
            limits,
            self.waiters,
            store,
            self.failures.ended,
        )
        self.placement = self.dispatch._placer._placement
        self.records = Records(
            cell.scripts, self.waiters, gateway, LoadStatus(cell.channel, cell.keys)
        )
        self.processes = JsonProcesses()
        self.supervisor = Supervisor([Loop("replies", self.waiters.run_once)])

    def intake(self, catalog: Catalog) -> Intake:
        """The intake of this gateway over a catalog."""
        config = RouterConfig(redis_url=self.cell.url, model_repository="file:///x")
        return Intake(config, catalog, self.dispatch, self.failures, self.recent, self.processes)

    async def stop(self) -> None:
        await self.supervisor.stop()
        await self.processes.stop()
        await self.dispatch.finish()
        await self.replies.aclose()


@pytest.fixture
async def parts(cell: Cell) -> AsyncIterator[Parts]:
    """A gateway `gw1` of the test's cell."""
    await cell.gateway(GATEWAY, 60_000)
    made = Parts(cell)
    made.supervisor.start()
    yield made
    await made.stop()


@pytest.fixture
async def other_parts(cell: Cell) -> AsyncIterator[Parts]:
    """Another gateway, `gw2`, of the same cell."""
    await cell.gateway("gw2", 60_000)
    made = Parts(cell, gateway="gw2")
    made.supervisor.start()
    yield made
    await made.stop()


@pytest.fixture
def repository() -> FakeRepository:
    """Manifests in memory, with what was asked counted."""
    return FakeRepository()


@pytest.fixture
async def door(parts: Parts, repository: FakeRepository) -> AsyncIterator[Ingress]:
    """The ingress of gateway gw1, in a cell whose model nobody holds."""
    repository.raw = repository.add(manifest())
    channel = Channel(parts.cell.url)
    cell = parts.cell
    intake = parts.intake(Catalog(repository, 60))
    yield Ingress(channel, cell.keys, cell.scripts, intake, "gw1", 1 << 20)
    await channel.aclose()
