"""The heartbeat has its own thread: a blocked event loop keeps its lease, a stuck one is found."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis import Redis

from shared import statuses
from shared.config import WorkerConfig
from tests.helpers.cell import MAX_ATTEMPTS, Cell
from tests.helpers.factories import REF, placing
from tests.helpers.proxy import Proxy
from tests.helpers.wait import block_until, wait_until
from worker.heartbeat import HeartbeatThread
from worker.membership import Membership
from worker.supervisor.progress import Progress
from worker.supervisor.restart import BATCH_STUCK, LOOP_STUCK, TAKEN

LEASE_S = 1.0


class Beating:
    """Worker w1, registered, whose heartbeat thread notes exit statuses instead of exiting."""

    def __init__(self, cell: Cell, url: str) -> None:
        self.cell = cell
        self.ends: list[int] = []
        self.held = {REF: 10}
        self.progress = Progress()
        self.member = Membership(
            cell.scripts, "w1", LEASE_S, MAX_ATTEMPTS, dict, lambda: dict(self.held)
        )
        config = WorkerConfig(redis_url=url, cell=cell.name, lease_s=LEASE_S, stuck_s=1.0)
        self.heartbeat = HeartbeatThread(config, self.member, self.progress, end=self.ends.append)

    async def start(self) -> None:
        self.member.state = "ready"
        await self.member.register()
        self.heartbeat.start()

    async def lease_left_ms(self) -> float:
        """By Redis's clock; below zero once it has run out."""
        ends = await self.cell.client.zscore(self.cell.keys.workers, "w1")
        seconds, micros = await self.cell.client.time()
        return (ends or 0) - seconds * 1000 - micros / 1000

    async def lease_left_above(self, least_ms: float) -> bool:
        return await self.lease_left_ms() > least_ms


@asynccontextmanager
async def made_beating(cell: Cell, url: str) -> AsyncIterator[Beating]:
    made = Beating(cell, url)
    await made.start()
    try:
        yield made
    finally:
        await made.heartbeat.close()


@pytest.fixture
async def beating(cell: Cell) -> AsyncIterator[Beating]:
    async with made_beating(cell, cell.url) as made:
        yield made


async def test_a_blocked_event_loop_keeps_its_lease(beating: Beating) -> None:
    """For more than the length of the lease nothing of this loop runs."""
    with Redis.from_url(beating.cell.url) as client:

        def ends_ms() -> float:
            return float(client.zscore(beating.cell.keys.workers, "w1"))

        before = ends_ms()
        block_until(lambda: ends_ms() > before + 1500 * LEASE_S)


async def test_an_event_loop_that_stands_still_for_too_long_is_ended(
    beating: Beating, capfd: pytest.CaptureFixture[str]
) -> None:
    """With the stacks of all threads in the log."""
    block_until(lambda: LOOP_STUCK in beating.ends)
    assert "test_an_event_loop_that_stands_still" in capfd.readouterr().err


async def test_a_batch_that_never_ends_is_ended(beating: Beating) -> None:
    """Past its deadline, and after the patience of a lease."""
    beating.progress.start(3, 0.0)
    await wait_until(lambda: BATCH_STUCK in beating.ends)


async def test_progress_is_shown_to_the_parent_while_the_thread_runs(beating: Beating) -> None:
    """Also when it renews no more, while the worker leaves."""
    before = beating.progress.beats
    await wait_until(lambda: beating.progress.beats > before + 2)
    await beating.heartbeat.stop_renewing()
    before = beating.progress.beats
    await wait_until(lambda: beating.progress.beats > before + 2)


async def test_a_fenced_worker_registers_again_and_announces_its_copies(
    beating: Beating, cell: Cell
) -> None:
    """Its lease ran out unnoticed, its entries were moved: what it can serve comes back to it."""
    old = beating.member.epoch

    async def reaped() -> bool:
        await cell.client.zadd(cell.keys.workers, {"w1": 0})
        return await cell.reap() is not None  # unless a heartbeat came between

    await wait_until(reaped)
    await wait_until(lambda: beating.member.epoch != old)
    await wait_until(lambda: cell.client.hexists(cell.keys.holders(REF), "w1"))
    assert (await cell.place(placing()))[0].detail == "w1"


async def test_a_model_that_the_map_lacks_is_announced_again(beating: Beating, cell: Cell) -> None:
    """As after a lost announcement."""
    await cell.client.delete(cell.keys.holders(REF), cell.keys.holds("w1"))
    await wait_until(lambda: cell.client.hexists(cell.keys.holders(REF), "w1"))


async def test_a_worker_whose_name_was_taken_ends(beating: Beating, cell: Cell) -> None:
    """Another process registered under it: two must not serve as one."""
    fields = {"incarnation": "another", "state": "ready"}
    await cell.scripts.register("w1", 10_000, MAX_ATTEMPTS, fields)
    await wait_until(lambda: TAKEN in beating.ends)
    assert await cell.client.hget(cell.keys.worker("w1"), "incarnation") == b"another"


async def test_after_stop_renewing_no_lease_is_renewed_or_registered(
    beating: Beating, cell: Cell
) -> None:
    """A worker that leaves is not to come back by a late beat."""
    await beating.heartbeat.stop_renewing()
    await beating.member.leave()
    # The answer to a beat from before may come now.
    beating.heartbeat._on_answer(statuses.FENCED, beating.member.epoch)
    before = beating.progress.beats
    await wait_until(lambda: beating.progress.beats > before + 6)
    assert await cell.exists(cell.keys.worker("w1"), cell.keys.workers) == []


async def test_the_lease_is_renewed_again_after_an_outage(cell: Cell) -> None:
    """A line that went silent is given up for a new one, long before a lost lease is noticed."""
    async with Proxy.to(cell.url) as proxy, made_beating(cell, proxy.url) as beating:
        await wait_until(lambda: proxy.accepted == 1)
        proxy.silent = True
        await wait_until(lambda: proxy.accepted > 1)
        proxy.silent = False
        await cell.client.zadd(cell.keys.workers, {"w1": 1})
        await wait_until(lambda: beating.lease_left_above(0))
