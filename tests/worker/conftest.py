"""A worker that serves one model of a test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from deploy.local.redis_server import RedisServer
from shared.channel import Channel
from tests.helpers.cell import Cell
from tests.helpers.consuming import Worker
from tests.helpers.order_bench import OrderBench


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


@pytest.fixture
def orders(redis_server: RedisServer, tmp_path: Path) -> Iterator[OrderBench]:
    """An empty queue of load orders."""
    made = OrderBench(redis_server.url, tmp_path)
    yield made
    made.clear()
