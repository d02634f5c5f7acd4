"""The inner parts of a gateway, put together without its doors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from router.dispatch import Dispatch
from router.gateway_bulk import GatewayBulk
from router.placement import Placement
from router.records import Records
from router.waiters import Waiters
from shared.channel import Channel
from shared.scripts import Limits
from shared.service import Loop, Supervisor
from tests.helpers.cell import WIDE, Cell
from tests.helpers.repository import FakeRepository

GATEWAY = "gw1"


class Parts:
    """One gateway of a cell, whose reply reader runs."""

    def __init__(self, cell: Cell, limits: Limits = WIDE) -> None:
        self.cell = cell
        self.replies = Channel(cell.url)
        self.placement = Placement(cell.scripts, limits)
        self.waiters = Waiters(self.replies, cell.keys, GATEWAY)
        bulk = GatewayBulk(cell.client, cell.keys, GATEWAY, None, 0)
        self.dispatch = Dispatch(
            GATEWAY, cell.keys, cell.scripts, self.placement, self.waiters, 3600.0, bulk
        )
        self.records = Records(cell.scripts, self.waiters, GATEWAY)
        self.supervisor = Supervisor([Loop("replies", self.waiters.run_once)])


@pytest.fixture
async def parts(cell: Cell) -> AsyncIterator[Parts]:
    """A gateway `gw1` of the test's cell."""
    await cell.gateway(GATEWAY, 60_000)
    made = Parts(cell)
    made.supervisor.start()
    yield made
    await made.supervisor.stop()
    await made.replies.aclose()


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[FakeRepository]:
    """Manifests in memory, with what was asked counted."""
    return FakeRepository()
