"""A gateway's housekeeping: its lease, dead workers, dead gateways, what is overdue; its health."""

from __future__ import annotations

import pytest

from router.sweeper import Health, Sweeper
from shared.connection import open_redis
from shared.scripts import CHUNK
from shared.service import Loop, Supervisor
from tests.helpers.cell import LEASE_MS, Cell
from tests.helpers.factories import REF, kept, placing


@pytest.fixture
def sweeper(cell: Cell) -> Sweeper:
    """Of gateway gw1, in a cell whose clock the test owns."""
    cell.scripts.now_ms = 1_000_000
    return Sweeper(cell.scripts, "gw1", LEASE_MS / 1000, 3)


async def test_a_beat_keeps_the_gateways_lease(cell: Cell, sweeper: Sweeper) -> None:
    """For as long as the settings say."""
    await sweeper.beat_once()
    assert await cell.client.zscore(cell.keys.gateways, "gw1") == 1_000_000 + LEASE_MS


async def test_a_sweep_reaps_every_dead_worker(cell: Cell, sweeper: Sweeper) -> None:
    """However long their streams are; it counts workers, not chunks."""
    for worker in ("w1", "w2"):
        await cell.worker(worker, holds=[REF])
    await cell.place(*[placing() for _ in range(4 * CHUNK)])
    cell.scripts.now_ms += LEASE_MS
    assert (await sweeper.sweep_once())["reaped"] == 2
    assert await cell.client.xlen(cell.keys.parked(REF)) == 4 * CHUNK
    assert (await sweeper.sweep_once())["reaped"] == 0


async def test_a_sweep_expires_everything_that_is_late(cell: Cell, sweeper: Sweeper) -> None:
    """At once, however much it is: nobody waits for many rounds beyond a deadline."""
    await cell.place(*[kept(timeout_ms=1) for _ in range(3 * CHUNK)])
    cell.scripts.now_ms += 1
    assert (await sweeper.sweep_once())["expired"] == 3 * CHUNK


async def test_a_sweep_orders_lost_loads_again(cell: Cell, sweeper: Sweeper) -> None:
    """Once."""
    await cell.place(placing())
    await cell.client.delete(cell.keys.load(REF))
    assert (await sweeper.sweep_once())["ordered"] == 1
    assert (await sweeper.sweep_once())["ordered"] == 0


async def test_a_healthy_gateway_has_no_reason_not_to_be_ready(cell: Cell) -> None:
    """Redis answers, loops run, nobody stops it."""
    supervisor = Supervisor([])
    assert await Health(cell.client, supervisor, lambda: False).reasons() == []


async def test_each_reason_not_to_be_ready_is_told(cell: Cell) -> None:
    """A loop that fails, a stop under way, a Redis that does not answer."""
    loop = Loop("replies", lambda: None)
    loop.failures = 3
    away = open_redis("redis://127.0.0.1:1/0")
    reasons = await Health(away, Supervisor([loop]), lambda: True).reasons()
    assert reasons == ["loop replies fails", "stopping", "Redis does not answer"]
    await away.aclose()
