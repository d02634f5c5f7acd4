"""A gateway's housekeeping: its lease, dead workers, dead gateways, what is overdue; its health."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from deploy.local.redis_server import RedisServer
from router.fleet import health as module
from router.fleet.health import Health
from router.fleet.sweeper import Sweeper
from shared.channel import Channel
from shared.event_log import EventLog
from shared.scripts import CHUNK
from shared.service import Loop, Supervisor
from tests.helpers.cell import LEASE_MS, Cell, open_cell
from tests.helpers.factories import OTHER_REF, REF, kept, placing
from tests.helpers.proxy import Proxy
from tests.helpers.wait import wait_until


@pytest.fixture
def sweeper(cell: Cell) -> Sweeper:
    """Of gateway gw1, in a cell whose clock the test owns."""
    cell.scripts.now_ms = 1_000_000
    return sweeper_of(cell, "gw1")


def sweeper_of(cell: Cell, gateway: str) -> Sweeper:
    events = EventLog(cell.channel, cell.keys)
    return Sweeper(cell.scripts, gateway, LEASE_MS / 1000, 3, events)


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
    await cell.attend()
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


async def test_a_sweep_ends_sessions_and_orders_what_should_be_there(
    cell: Cell, sweeper: Sweeper
) -> None:
    """Once, and it is told in the log of events."""
    epoch = await cell.worker(lease_ms=10 * LEASE_MS)
    await cell.scripts.heartbeat("w1", epoch, "one", 10 * LEASE_MS, 0, {"budget_bytes": 100})
    await cell.scripts.open_session("mine", 1000, 9, [(REF, 10)])
    await cell.scripts.set_policy(OTHER_REF, {"min_copies": "1"})
    cell.scripts.now_ms += 1000
    await cell.attend()
    counts = await sweeper.sweep_once()
    assert (counts["sessions_ended"], counts["copies_ordered"]) == (1, 1)
    assert await cell.token(OTHER_REF)
    await wait_until(lambda: told(cell, ["ordered_copy", "session_closed"]))
    counts = await sweeper.sweep_once()
    assert (counts["sessions_ended"], counts["copies_ordered"]) == (0, 0)


async def told(cell: Cell, kinds: list[str]) -> bool:
    rows = await cell.stream(cell.keys.events)
    return sorted(row.fields["kind"].decode() for row in rows) == kinds


async def test_ten_sweepers_at_once_do_it_once(cell: Cell) -> None:
    """What is dead is reaped, what is late expired and what is lost ordered by one of them."""
    cell.scripts.now_ms = 1_000_000
    sweepers = [sweeper_of(cell, f"gw{n}") for n in range(10)]
    for worker in ("w1", "w2"):
        await cell.worker(worker, holds=[REF])
    await cell.place(*[placing() for _ in range(3 * CHUNK)])
    await cell.place(*[kept(ref=OTHER_REF, timeout_ms=LEASE_MS) for _ in range(CHUNK // 2)])
    await cell.client.delete(cell.keys.load(OTHER_REF))
    await cell.place(*[kept(ref="tts:1:abcdefabcdef")])
    await cell.client.delete(cell.keys.load("tts:1:abcdefabcdef"))
    cell.scripts.now_ms += LEASE_MS
    await cell.attend()
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
        health = Health(channel, cell.keys, Supervisor([]), lambda: False)
        assert (await health.document())["ready"]
        monkeypatch.setattr(module, "PING_S", 0.1)
        proxy.swallow()
        assert (await health.document())["error"] == "Redis did not answer in time"
        assert proxy.lost
        await channel.aclose()


async def test_a_healthy_gateway_has_no_reason_not_to_be_ready(cell: Cell) -> None:
    """Redis answers, loops run, nobody stops it."""
    supervisor = Supervisor([])
    health = Health(cell.channel, cell.keys, supervisor, lambda: False)
    assert (await health.document())["ready"]


async def test_each_reason_not_to_be_ready_is_told(cell: Cell) -> None:
    """A loop that fails, a stop under way, a Redis that does not answer."""
    loop = Loop("replies", lambda: None)
    loop.failures = 3
    away = Channel("redis://127.0.0.1:1/0")
    health = Health(away, cell.keys, Supervisor([loop]), lambda: True)
    reasons = (await health.document())["error"].split("; ")
    assert reasons == ["loop replies fails", "stopping", "Redis does not answer"]
    await away.aclose()


async def test_a_gateway_is_not_ready_while_redis_is_full(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Not for one burst, but while it lasts; and again afterwards."""
    cell = open_cell(own_redis.url, "full")
    sweeper = sweeper_of(cell, "gw1")
    health = Health(
        cell.channel, cell.keys, Supervisor([]), lambda: False,
        redis_is_full=lambda: sweeper.redis_is_full,
    )  # fmt: skip
    await cell.client.config_set("maxmemory", 1)
    await sweeper.sweep_once()
    assert (await health.document())["ready"]
    for _ in range(2):
        await sweeper.sweep_once()
    assert "memory" in (await health.document())["error"]
    await cell.client.config_set("maxmemory", 0)
    await cell.client.delete(cell.keys.headroom)
    await sweeper.sweep_once()
    assert (await health.document())["ready"]
    await cell.close()
