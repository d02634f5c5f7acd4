"""A gateway's housekeeping: its lease, dead workers, dead gateways, what is overdue."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial

import pytest

from deploy.local.redis_server import RedisServer
from router.fleet import sweeper as sweeper_module
from router.fleet.health import Health
from router.fleet.sweeper import Sweeper
from shared.event_log import EventLog
from shared.scripts import CHUNK
from shared.service import Supervisor
from tests.helpers.cell import LEASE_MS, Cell, open_cell
from tests.helpers.factories import OTHER_REF, REF, kept, placing
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


async def test_of_many_gateways_few_keep_house_and_the_others_take_over(cell: Cell) -> None:
    """What only they do stands still nowhere."""
    cell.scripts.now_ms = 1_000_000
    sweepers = [sweeper_of(cell, f"gw{n}") for n in range(6)]
    done: list[int] = []

    async def step(n: int) -> None:
        done.append(n)

    async def round_of(*numbers: int) -> list[int]:
        done.clear()
        for n in numbers:
            await sweepers[n].beat_once()
            await sweepers[n].of_the_house(partial(step, n))()
        return done

    assert await round_of(*range(6)) == [0, 1, 2]
    cell.scripts.now_ms += 1000
    assert await round_of(2, 3, 4, 5) == [2]
    cell.scripts.now_ms += 1000
    assert await round_of(2, 3, 4, 5) == [2, 3, 4]


async def test_a_sweep_reaps_every_dead_worker(cell: Cell, sweeper: Sweeper) -> None:
    """However long their streams are; it counts workers, not chunks."""
    for worker in ("w1", "w2"):
        await cell.worker(worker, holds=[REF])
    await cell.place(*[placing() for _ in range(4 * CHUNK)])
    cell.scripts.now_ms += LEASE_MS
    await cell.attend()
    assert await sweeper.reap_once() == 2
    assert await cell.client.xlen(cell.keys.parked(REF)) == 4 * CHUNK
    assert await sweeper.reap_once() == 0


async def test_a_sweep_expires_everything_that_is_late(cell: Cell, sweeper: Sweeper) -> None:
    """At once, however much it is: nobody waits for many rounds beyond a deadline."""
    await cell.place(*[kept(timeout_ms=1) for _ in range(3 * CHUNK)])
    cell.scripts.now_ms += 1
    assert (await sweeper.sweep_once())["ended"] == 3 * CHUNK


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
    counts = await sweeper.reconcile_once()
    assert (counts["sessions_ended"], counts["copies_ordered"]) == (1, 1)
    assert await cell.token(OTHER_REF)
    await wait_until(lambda: told(cell, ["ordered_copy", "session_closed"]))
    counts = await sweeper.reconcile_once()
    assert (counts["sessions_ended"], counts["copies_ordered"]) == (0, 0)


async def told(cell: Cell, kinds: list[str]) -> bool:
    rows = await cell.stream(cell.keys.events)
    return sorted(row.fields["kind"].decode() for row in rows) == kinds


async def test_a_broken_key_stops_no_other_housekeeping_and_is_logged_once(
    cell: Cell, sweeper: Sweeper, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a worker, a request and a minimum: the loops do not fail, so the gateway stays ready."""
    for worker in ("w1", "w2"):
        await cell.worker(worker, holds=[REF])
    broken, sound = (kept(ref=OTHER_REF, timeout_ms=5) for _ in range(2))
    await cell.place(broken, sound)
    await cell.scripts.set_policy(OTHER_REF, {"min_copies": "1"})
    keys = cell.keys
    for key in (keys.holds("w1"), keys.request(broken.id), keys.stats(OTHER_REF)):
        await cell.client.delete(key)
        await cell.client.set(key, "a text", px=600_000)
    cell.scripts.now_ms += LEASE_MS
    await cell.attend()
    reaped = [await sweeper.reap_once() for _ in range(3)]
    ended = [(await sweeper.sweep_once())["ended"] for _ in range(3)]
    for _ in range(3):
        await sweeper.reconcile_once()
    assert (sum(reaped), sum(ended)) == (1, 1)
    errors = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == len(set(errors)) >= 3


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
    await asyncio.gather(*(sweeper.reap_once() for sweeper in sweepers))
    counts = await asyncio.gather(*(sweeper.sweep_once() for sweeper in sweepers))
    total = sum(counts, Counter())
    assert total["ended"] == CHUNK // 2
    assert total["ordered"] == 1
    assert await cell.client.zcard(cell.keys.workers) == 0
    assert await cell.client.xlen(cell.keys.parked(REF)) == 3 * CHUNK


async def test_a_gateway_is_not_ready_while_redis_is_full(own_redis: RedisServer) -> None:
    """Not for one burst, but while it lasts; and again afterwards."""
    cell = open_cell(own_redis.url, "full")
    sweeper = sweeper_of(cell, "gw1")
    health = Health(
        cell.channel, cell.keys, Supervisor([]), redis_is_full=lambda: sweeper.redis_is_full
    )
    await cell.client.config_set("maxmemory", 1)
    await sweeper.beat_once()
    assert (await health.document())["ready"]
    await sweeper.beat_once()
    assert "memory" in (await health.document())["error"]
    await cell.client.config_set("maxmemory", 0)
    await cell.client.delete(cell.keys.headroom)
    await sweeper.beat_once()
    assert (await health.document())["ready"]
    await cell.close()


@pytest.mark.parametrize("leap_ms", [600_000, -600_000])
async def test_a_leap_of_redis_is_told_and_does_not_reach_the_cell(
    cell: Cell, sweeper: Sweeper, leap_ms: int, caplog: pytest.LogCaptureFixture
) -> None:
    """No time has passed by the gateway's own clock; the next look finds nothing."""
    cell.scripts.now_ms, cell.scripts.redis_ms = None, 1_000_000
    assert await sweeper.keep_clock_once() == 0
    cell.scripts.redis_ms += leap_ms
    assert await sweeper.keep_clock_once() in range(leap_ms - 100, leap_ms + 500)
    assert await sweeper.keep_clock_once() == 0
    assert f"leapt by {leap_ms / 1000:+.0f}" in caplog.text
    seen = int((await cell.client.get(cell.keys.clock)).split()[0])
    assert abs(seen - 1_000_000) < 500


async def following(cell: Cell) -> list[Sweeper]:
    """Four gateways, of which three keep house and follow Redis's clock."""
    cell.scripts.now_ms, cell.scripts.redis_ms = None, 1_000_000
    sweepers = [sweeper_of(cell, f"gw{n}") for n in range(4)]
    for sweeper in sweepers:
        await sweeper.keep_clock_once()
        await sweeper.beat_once()
    return sweepers


async def seen(cell: Cell) -> int:
    """Until when the cell's clock has been followed."""
    return int((await cell.client.get(cell.keys.clock)).split()[0])


async def test_only_gateways_that_keep_house_follow_the_clock(cell: Cell) -> None:
    """Another one asks nothing."""
    *_, keeper, other = await following(cell)
    cell.scripts.redis_ms = 1_000_400
    await other.keep_clock_once()
    assert await seen(cell) == 1_000_000
    await keeper.keep_clock_once()
    assert await seen(cell) == 1_000_400


@pytest.mark.parametrize("leap_ms", [600_000, -600_000])
async def test_when_all_that_follow_the_clock_die_another_one_tells_a_leap(
    cell: Cell, leap_ms: int
) -> None:
    """It has seen Redis's clock before with its heartbeats; so it needs no patience."""
    *_, other = await following(cell)
    assert cell.scripts.redis_ms is not None
    cell.scripts.redis_ms += leap_ms
    await other.beat_once()
    assert await other.keep_clock_once() in range(leap_ms - 100, leap_ms + 500)
    assert abs(await seen(cell) - 1_000_000) < 500


async def test_when_all_that_follow_the_clock_die_another_one_tells_that_time_has_passed(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It follows until it finds that others keep house."""
    now_s = 100.0
    monkeypatch.setattr(sweeper_module.clock, "monotonic", lambda: now_s)
    *_, other = await following(cell)
    now_s += 8
    cell.scripts.redis_ms = 1_008_000
    await other.beat_once()
    assert await other.keep_clock_once() == 0
    assert await seen(cell) == 1_008_000
