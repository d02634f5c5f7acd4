"""A worker that serves one model of a test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.channel import Channel
from tests.helpers.cell import Cell
from tests.helpers.consuming import Worker


@pytest.fixture
async def worker(cell: Cell) -> AsyncIterator[Worker]:
    """Registered; its loops are started by the tests."""
    await cell.gateway()
    reads = Channel(cell.url)
    made = Worker(cell, reads)
    await made.parts.membership.register()
    yield made
    await made.supervisor.stop()
    await made.consumer.drain()
    await reads.aclose()
    made.parts.thread.close()
