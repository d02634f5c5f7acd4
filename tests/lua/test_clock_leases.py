"""After an outage or a leap of its clock, what Redis leases to processes and clients lasts."""

from __future__ import annotations

import pytest

from shared.constants import STALL_SPARE_MS
from shared.redis_decode import CLOCK_FAR_MS, cell_ms
from tests.helpers.cell import LEASE_MS, MAX_ATTEMPTS, Cell
from tests.helpers.factories import OTHER_REF, REF
from tests.helpers.leaping import Redis, serving_redis

MINUTES_10 = 600_000


@pytest.fixture
async def redis(cell: Cell) -> Redis:
    """Its clock is the test's."""
    return await serving_redis(cell)


async def reap(cell: Cell) -> tuple[str, int] | None:
    """As a gateway does."""
    return await cell.scripts.reap(MAX_ATTEMPTS)


async def lease_of(cell: Cell, worker: str = "w1") -> int:
    return int(await cell.client.zscore(cell.keys.workers, worker) or 0)


async def test_the_first_gateway_of_a_cell_reaps_nobody_for_a_lease(cell: Cell) -> None:
    """Nobody has kept watch: it does not know whether Redis was there."""
    redis = Redis(cell)
    await cell.worker(lease_ms=1)
    redis.now_ms += 1
    assert await reap(cell) is None
    await redis.look()
    assert await reap(cell) is None
    assert await lease_of(cell) == redis.now_ms + LEASE_MS


async def test_what_a_gateway_has_read_stays_with_it(cell: Cell, redis: Redis) -> None:
    """A gateway that beats first after a leap takes nothing from those that will beat next; its
    callers' reply streams are still there."""
    entry = await cell.client.xadd(cell.keys.ingress, {"model": "mnist"})
    await cell.client.xreadgroup("g", "gw1", {cell.keys.ingress: ">"})
    assert await cell.client.pttl(cell.keys.replies("gw1")) > MINUTES_10
    redis.now_ms += LEASE_MS + 1
    assert (await cell.scripts.gateway_beat("gw2", LEASE_MS)).moved == 0
    await redis.explain(0)
    assert (await cell.scripts.gateway_beat("gw2", LEASE_MS)).moved == 0
    assert [row.entry for row in await cell.stream(cell.keys.ingress)] == [entry]
    assert await cell.client.zscore(cell.keys.gateways, "gw1") == redis.now_ms + LEASE_MS


async def test_the_lease_of_a_load_that_goes_on_outlives_a_leap(cell: Cell, redis: Redis) -> None:
    """Its key stays; without renewals it ends once there is no grace."""
    token = await cell.claim("w1", (await cell.epoch("w1")).decode(), OTHER_REF)
    assert await cell.scripts.renew_load("w1", OTHER_REF, token, LEASE_MS, "", STALL_SPARE_MS)
    assert await cell.client.pttl(cell.keys.load(OTHER_REF)) > MINUTES_10
    redis.now_ms += LEASE_MS + 1
    await redis.explain(0)
    assert await cell.scripts.sweep() == (0, 0, 0)
    assert await cell.token(OTHER_REF) == token


async def test_a_session_is_not_ended_for_a_silence_of_redis(cell: Cell, redis: Redis) -> None:
    """It gets its time to live again; its client may keep it, also before housekeeping."""
    await cell.client.hset(cell.keys.worker("w1"), "budget_bytes", 100)
    for name in ("s1", "s2"):
        await cell.scripts.open_session(name, 1000, 9, [(REF, 10)])
    redis.now_ms += LEASE_MS
    await redis.explain(0)
    assert await cell.scripts.keep_session("s1") == redis.now_ms + 1000
    assert (await cell.scripts.reconcile())[0] == 0
    assert await cell.client.zscore(cell.keys.sessions, "s2") == redis.now_ms + 1000
    await redis.goes_on(LEASE_MS)
    assert (await cell.scripts.reconcile())[0] == 2


@pytest.mark.parametrize("step_ms", [0, 400, CLOCK_FAR_MS + 1, -400, -CLOCK_FAR_MS - 1])
async def test_a_gateway_reads_the_clock_as_scripts_do(
    cell: Cell, redis: Redis, step_ms: int
) -> None:
    """Both have one rule for what is far."""
    redis.now_ms += step_ms
    noted = await cell.client.get(cell.keys.clock)
    await cell.scripts.heartbeat("w1", (await cell.epoch("w1")).decode(), "one", 0, 1, {})
    time = divmod(redis.now_ms, 1000)
    assert cell_ms((time[0], time[1] * 1000), noted) == await lease_of(cell)
