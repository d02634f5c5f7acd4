"""Redis may leap in time, or be away: what waits has its time, and nobody is dead for it."""

from __future__ import annotations

import pytest

from tests.helpers.cell import LEASE_MS, MAX_ATTEMPTS, Cell
from tests.helpers.factories import REF, kept, placing
from tests.helpers.leaping import WAITS_MS, Redis, serving_redis

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


@pytest.mark.parametrize("leap_ms", [MINUTES_10, -MINUTES_10, 2000, -2000, 40 * MINUTES_10])
async def test_what_is_not_explained_ends_nothing(cell: Cell, redis: Redis, leap_ms: int) -> None:
    """The clock stands still: nothing expires, nobody is dead, what is placed finds its holder."""
    redis.now_ms += leap_ms
    assert await redis.look() != ""
    assert await cell.scripts.sweep() == (0, 0, 0)
    assert await reap(cell) is None
    assert (await cell.scripts.reconcile())[0] == 0
    placed = await cell.place(placing())
    assert placed[0].detail == "w1"
    assert await cell.begin("w1", (await cell.epoch("w1")).decode(), await cell.read()) == [b"run"]


@pytest.mark.parametrize("leap_ms", [MINUTES_10, -MINUTES_10])
async def test_a_request_waits_its_time_whatever_the_clock_does(
    cell: Cell, redis: Redis, leap_ms: int
) -> None:
    """Not less, and not ten minutes more."""
    await redis.goes_on(WAITS_MS // 2)
    redis.now_ms += leap_ms
    await redis.explain(leap_ms)
    await redis.goes_on(WAITS_MS // 2 - 500)
    assert (await cell.scripts.sweep())[0] == 0
    await redis.goes_on(500)
    assert (await cell.scripts.sweep())[0] >= 1


@pytest.mark.parametrize("leap_ms", [MINUTES_10, -MINUTES_10])
async def test_who_falls_silent_in_a_leap_is_dead_one_lease_later(
    cell: Cell, redis: Redis, leap_ms: int
) -> None:
    """Neither at once nor after ten minutes."""
    redis.now_ms += leap_ms
    await redis.explain(leap_ms)
    await redis.goes_on(LEASE_MS - 500)
    assert await reap(cell) is None
    await redis.goes_on(500)
    assert await reap(cell) == ("w1", 0)


@pytest.mark.parametrize("away_ms", [LEASE_MS + 1, 2 * LEASE_MS])
async def test_an_outage_is_time_that_has_passed_and_no_death(
    cell: Cell, redis: Redis, away_ms: int
) -> None:
    """Leases last for one more, so that a placed request finds its holder; a late commit counts."""
    redis.now_ms += away_ms
    await redis.explain(0)
    assert await lease_of(cell) == redis.now_ms + LEASE_MS
    assert await reap(cell) is None
    assert [placed.detail for placed in await cell.place(placing())] == ["w1"]
    entry = (await cell.stream(cell.keys.work("w1")))[0]
    assert await cell.complete("w1", (await cell.epoch("w1")).decode(), [entry]) == [1]


async def test_what_has_waited_too_long_ends_after_an_outage(cell: Cell, redis: Redis) -> None:
    """What runs is left for one lease: its worker could not say that it is done."""
    redis.now_ms += WAITS_MS
    await redis.explain(0)
    assert (await cell.scripts.sweep())[0] == 1
    assert await cell.client.xlen(cell.keys.work("w1")) == 1
    await redis.goes_on(LEASE_MS)
    assert (await cell.scripts.sweep())[0] == 1


async def test_a_second_outage_begins_a_new_grace(cell: Cell, redis: Redis) -> None:
    """One that came just before the end of the first."""
    for _ in range(5):
        redis.now_ms += LEASE_MS - 1
        await redis.explain(0)
        assert await reap(cell) is None


async def test_short_pauses_and_small_steps_of_the_clock_are_time(cell: Cell, redis: Redis) -> None:
    """Else a busy gateway, or a clock that is being adjusted, would keep the dead alive."""
    for step_ms in (700, -20, 900, -400, *[900] * 10):
        assert await reap(cell) is None
        redis.now_ms += step_ms
        assert await redis.look() == ""
    assert await reap(cell) == ("w1", 0)


async def test_the_clock_never_goes_back(cell: Cell, redis: Redis) -> None:
    """By a small step neither; a deadline that is given then is not too early."""
    (before,) = await cell.place(kept(timeout_ms=WAITS_MS))
    for step_ms in (-300, -MINUTES_10):
        redis.now_ms += step_ms
        (after,) = await cell.place(kept(timeout_ms=WAITS_MS))
        assert after.deadline_ms >= before.deadline_ms


async def test_of_two_gateways_the_first_is_believed(cell: Cell, redis: Redis) -> None:
    """Both found the same leap; it is taken off once."""
    redis.now_ms += MINUTES_10
    mark = await redis.look()
    for _ in range(2):
        await cell.scripts.keep_clock(LEASE_MS, mark, MINUTES_10)
    assert (await cell.client.get(cell.keys.clock)).split()[1] == b"%d" % MINUTES_10


async def test_deadlines_given_before_the_explanation_are_not_too_early(
    cell: Cell, redis: Redis
) -> None:
    """It may have been an outage."""
    redis.now_ms += 2 * LEASE_MS
    (placed,) = await cell.place(kept(timeout_ms=WAITS_MS))
    await redis.explain(0)
    assert placed.deadline_ms >= redis.now_ms + WAITS_MS


async def test_an_entry_of_the_door_has_its_time_after_a_leap_back(
    cell: Cell, redis: Redis
) -> None:
    """Its id has Redis's own time."""
    redis.now_ms -= MINUTES_10
    await redis.explain(-MINUTES_10)
    entry = f"{redis.now_ms}-0"
    await cell.client.xadd(cell.keys.ingress, {"model": "mnist"}, id=entry)
    item = kept(timeout_ms=WAITS_MS)._replace(ingress=entry)
    (placed,) = await cell.place(item)
    assert placed.status == "placed"
    assert placed.deadline_ms == redis.now_ms + MINUTES_10 + WAITS_MS


async def test_without_gateways_the_clock_is_that_of_redis_again(cell: Cell, redis: Redis) -> None:
    """Those of an earlier release keep none: workers must not stand still with it."""
    redis.now_ms += MINUTES_10
    await redis.beats(5)
    assert await cell.client.exists(cell.keys.clock) == 0
    await redis.beats(1)
    assert await lease_of(cell) == redis.now_ms + LEASE_MS


@pytest.mark.parametrize("leap_ms", [MINUTES_10, -MINUTES_10])
async def test_leaps_of_before_stay_off_when_no_gateway_is_there(
    cell: Cell, redis: Redis, leap_ms: int
) -> None:
    """While the only one is replaced, say: what waits has its time."""
    redis.now_ms += leap_ms
    await redis.explain(leap_ms)
    redis.now_ms += 5000
    await redis.beats(5)
    assert (await cell.client.get(cell.keys.clock)).split()[1] == b"%d" % leap_ms
    assert await cell.scripts.sweep() == (0, 0, 0)
    await redis.beats(1)
    assert await lease_of(cell) == redis.now_ms - leap_ms + LEASE_MS


async def test_a_clock_that_goes_back_without_gateways_does_not_take_the_cell_with_it(
    cell: Cell, redis: Redis
) -> None:
    """It goes on from where it stood."""
    before, redis.now_ms = redis.now_ms, redis.now_ms - MINUTES_10
    await redis.beats(6)
    assert await lease_of(cell) == before + LEASE_MS
    redis.now_ms += 500
    await redis.beats(1)
    assert await lease_of(cell) == before + 500 + LEASE_MS


async def test_what_redis_keeps_by_its_own_clock_is_forgotten_when_that_goes_back(
    cell: Cell, redis: Redis
) -> None:
    """The bytes that are left, and why models were refused, would be believed for ten minutes."""
    await cell.client.set(cell.keys.headroom, 1, px=500)
    await cell.client.set(cell.keys.unloadable(REF), "no_space full", px=5000)
    await cell.client.zadd(cell.keys.refused_models, {REF: redis.now_ms})
    await cell.client.expire(cell.keys.refused_models, 3600)
    redis.now_ms -= MINUTES_10
    await redis.explain(-MINUTES_10)
    assert await cell.exists(cell.keys.headroom, cell.keys.unloadable(REF)) == []
