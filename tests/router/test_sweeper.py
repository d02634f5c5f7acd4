"""A gateway's housekeeping: its lease, dead workers, dead gateways, what is overdue; its health."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from router import sweeper as module
from router.sweeper import Health, Sweeper
from shared.channel import Channel
from shared.scripts import CHUNK
from shared.service import Loop, Supervisor
from tests.helpers.cell import LEASE_MS, Cell
from tests.helpers.factories import OTHER_REF, REF, kept, placing
from tests.helpers.proxy import Proxy


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


async def test_ten_sweepers_at_once_do_it_once(cell: Cell) -> None:
    """What is dead is reaped, what is late expired and what is lost ordered by one of them."""
    cell.scripts.now_ms = 1_000_000
    sweepers = [Sweeper(cell.scripts, f"gw{n}", LEASE_MS / 1000, 3) for n in range(10)]
    for worker in ("w1", "w2"):
        await cell.worker(worker, holds=[REF])
    await cell.place(*[placing() for _ in range(3 * CHUNK)])
    await cell.place(*[kept(ref=OTHER_REF, timeout_ms=LEASE_MS) for _ in range(CHUNK // 2)])
    await cell.client.delete(cell.keys.load(OTHER_REF))
    await cell.place(*[kept(ref="tts:1:abcdefabcdef")])
    await cell.client.delete(cell.keys.load("tts:1:abcdefabcdef"))
    cell.scripts.now_ms += LEASE_MS
    counts = await asyncio.gather(*(sweeper.sweep_once() for sweeper in sweepers))
    total = sum(counts, Counter())
    assert total["expired"] == CHUNK // 2
    assert total["ordered"] == 1
    assert await cell.client.zcard(cell.keys.workers) == 0
    assert await cell.client.xlen(cell.keys.parked(REF)) == 3 * CHUNK


async def test_a_redis_that_says_nothing_does_not_keep_a_probe_waiting(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load balancer must hear soon that this gateway is no use."""
    async with Proxy.to(cell.url) as proxy:
        channel = Channel(proxy.url)
        health = Health(channel, Supervisor([]), lambda: False)
        assert await health.reasons() == []
        monkeypatch.setattr(module, "PING_S", 0.1)
        proxy.swallow()
        assert await health.reasons() == ["Redis did not answer in time"]
        assert proxy.lost
        await channel.aclose()


async def test_a_healthy_gateway_has_no_reason_not_to_be_ready(cell: Cell) -> None:
    """Redis answers, loops run, nobody stops it."""
    supervisor = Supervisor([])
    assert await Health(cell.channel, supervisor, lambda: False).reasons() == []


async def test_each_reason_not_to_be_ready_is_told(cell: Cell) -> None:
    """A loop that fails, a stop under way, a Redis that does not answer."""
    loop = Loop("replies", lambda: None)
    loop.failures = 3
    away = Channel("redis://127.0.0.1:1/0")
    reasons = await Health(away, Supervisor([loop]), lambda: True).reasons()
    assert reasons == ["loop replies fails", "stopping", "Redis does not answer"]
    await away.aclose()
