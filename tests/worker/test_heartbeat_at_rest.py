"""A worker at rest beats less often: what is new, and its end, do not wait for its read."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from shared import channel, clock
from shared.config import WorkerConfig
from tests.helpers.cell import LEASE_MS, MAX_ATTEMPTS, Cell
from tests.helpers.factories import REF
from tests.helpers.wait import wait_until
from worker.heartbeat import HeartbeatThread
from worker.loading.orders import Orders
from worker.membership import Membership
from worker.supervisor.progress import Progress

LEASE_S = LEASE_MS / 1000


class Resting:
    """Worker w1, whose reads at rest have no end of their own."""

    def __init__(self, cell: Cell) -> None:
        self.loads: list[str] = []
        self.member = Membership(cell.scripts, "w1", LEASE_S, MAX_ATTEMPTS, dict, dict)
        self.orders = Orders(
            cell.channel, cell.keys, "w1", lambda: True, self._load, self._unload
        )  # fmt: skip
        config = WorkerConfig(redis_url=cell.url, cell=cell.name, lease_s=LEASE_S)
        self.heartbeat = HeartbeatThread(config, self.member, Progress(), self.orders)
        self.heartbeat._rest_s = 3600.0

    async def start(self) -> None:
        self.member.state = "ready"
        await self.member.register()
        self.heartbeat.start()
        await wait_until(lambda: self.heartbeat._due > clock.monotonic() + 60)

    async def _load(self, ref: str, token: str) -> str:
        self.loads.append(ref)
        return "claimed"

    async def _unload(self, ref: str) -> None:
        raise AssertionError("nothing is unloaded")


@pytest.fixture
async def resting(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Resting]:
    monkeypatch.setattr(channel, "COMMAND_TIMEOUT_S", 3600.0)
    made = Resting(cell)
    await made.start()
    yield made
    await made.heartbeat.close()


async def test_news_end_the_read(resting: Resting, cell: Cell) -> None:
    """The beat that writes them is the next one; orders are taken as before."""
    resting.member.state = "draining"

    async def written() -> bool:
        return await cell.client.hget(cell.keys.worker("w1"), "state") == b"draining"

    await wait_until(written)
    await wait_until(lambda: resting.heartbeat._due > clock.monotonic() + 60)
    assert not await cell.client.exists(cell.keys.orders("w1"))
    await cell.client.rpush(cell.keys.orders("w1"), f"load {REF} t1")
    await wait_until(lambda: resting.loads == [REF])


async def test_an_order_wakes_the_worker(resting: Resting, cell: Cell) -> None:
    """Each of them; the beat stays where it is."""
    for count in (1, 2):
        await cell.client.rpush(cell.keys.orders("w1"), f"load {REF} t{count}")
        await wait_until(lambda: len(resting.loads) == count)  # noqa: B023 - called in this round
    assert resting.heartbeat._due > clock.monotonic() + 60


async def test_a_worker_that_closes_does_not_wait_for_the_end_of_its_read(resting: Resting) -> None:
    """What it pushes for that is gone with its read."""
    await wait_until(lambda: resting.orders.waiting)
    await resting.orders.close()
    assert not resting.orders.waiting and resting.loads == []


async def test_a_read_that_begins_as_a_worker_closes_is_waited_for(
    resting: Resting, cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which lists to read was settled, and nothing was asked of Redis yet: such a read took the
    next order with it."""
    looked, go, lists = threading.Event(), threading.Event(), resting.orders.lists

    def slow() -> list[str]:
        found = lists()
        looked.set()
        assert go.wait(20)
        return found

    monkeypatch.setattr(resting.orders, "lists", slow)
    await cell.client.rpush(cell.keys.orders("w1"), "")  # ends the read under way
    await wait_until(looked.is_set)
    closing = asyncio.create_task(resting.orders.close())
    await wait_until(lambda: closing.done() or cell.client.exists(cell.keys.orders("w1")))
    assert not closing.done()
    go.set()
    await closing
    assert not resting.orders.waiting
