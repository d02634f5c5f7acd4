"""Keys end by Redis's own clock, which may leap: what that costs, and what it never costs."""

from __future__ import annotations

import pytest

from tests.helpers.cell import LEASE_MS, MAX_ATTEMPTS, Cell
from tests.helpers.factories import OTHER_REF, kept, placing
from tests.helpers.leaping import WAITS_MS, Redis, serving_redis

HOUR_MS = 3_600_000


@pytest.fixture
async def redis(cell: Cell) -> Redis:
    """Its clock is the test's."""
    return await serving_redis(cell)


async def leaps(cell: Cell, redis: Redis, leap_ms: int) -> None:
    """Forward: keys whose rest is shorter are gone, and a gateway finds out."""
    async for key in cell.client.scan_iter():
        if 0 <= await cell.client.pttl(key) < leap_ms:
            await cell.client.delete(key)
    redis.now_ms += leap_ms
    await redis.explain(leap_ms)


async def test_a_leap_within_a_day_loses_no_open_request(cell: Cell, redis: Redis) -> None:
    """Those that wait for a load, and those on a worker: of callers who wait, and who poll."""
    epoch = (await cell.epoch("w1")).decode()
    items = [kept(), placing(flags=""), kept(ref=OTHER_REF), placing(ref=OTHER_REF, flags="")]
    await cell.place(*items)
    await leaps(cell, redis, 23 * HOUR_MS)
    await cell.scripts.sweep()
    await cell.scripts.announce(
        "w1", epoch, OTHER_REF, await cell.claim("w1", epoch, OTHER_REF), "device 1"
    )
    await cell.complete("w1", epoch, await cell.read(), outcome=b"42")
    for item in items[::2]:
        record = await cell.record(item.id)
        assert (record["status"], record["outcome"]) == (b"succeeded", b"42")
    told = {reply["id"].decode() for reply in await cell.replies()}
    assert told == {items[1].id, items[3].id}


async def test_its_deadline_ends_one_that_nobody_serves(cell: Cell, redis: Redis) -> None:
    """Its record says so, and its caller is told."""
    item = kept(ref=OTHER_REF, timeout_ms=WAITS_MS)
    await cell.place(item)
    await leaps(cell, redis, 23 * HOUR_MS)
    await redis.goes_on(WAITS_MS)
    await cell.scripts.sweep()
    assert (await cell.record(item.id))["status"] == b"expired"


@pytest.mark.parametrize(("hours", "said"), [(1.5, "gone"), (3, "unknown")])
async def test_a_leap_of_hours_loses_outcomes_that_are_kept(
    cell: Cell, redis: Redis, hours: float, said: str
) -> None:
    """A poll is answered as when they are no longer kept, and a call with the same key too: it
    does not run twice."""
    epoch, item = (await cell.epoch("w1")).decode(), kept(key="key", fingerprint="same")
    await cell.place(item)
    await cell.complete("w1", epoch, await cell.read())
    await leaps(cell, redis, int(hours * HOUR_MS))
    assert await cell.cancel(item.id) == said
    (again,) = await cell.place(kept(key="key", fingerprint="same"))
    assert (again.status, again.detail) == ("gone", item.id)


async def test_after_a_leap_of_years_nobody_holds_a_worker_or_waits_for_what_is_lost(
    cell: Cell, redis: Redis
) -> None:
    """A clock that stood at 1970: the records are gone. What is on a worker is answered to who
    waits; what waits for a load ends when it is loaded; nothing stays."""
    epoch = (await cell.epoch("w1")).decode()
    items = [placing(flags=""), kept(ref=OTHER_REF, timeout_ms=WAITS_MS)]
    await cell.place(*items)
    await leaps(cell, redis, 50 * 365 * 24 * HOUR_MS)
    assert await cell.record(items[1].id) == {}
    await cell.scripts.gateway_beat("gw1", LEASE_MS)
    await cell.complete("w1", epoch, await cell.read())
    assert items[0].id in {reply["id"].decode() for reply in await cell.replies()}
    await redis.goes_on(WAITS_MS)
    await cell.scripts.sweep()
    await cell.scripts.renew_lease("w1", epoch, LEASE_MS, 1)
    token = await cell.claim("w1", epoch, OTHER_REF)
    await cell.scripts.announce("w1", epoch, OTHER_REF, token, "device 1")
    late = await cell.read()
    assert set(await cell.begin("w1", epoch, late)) == {b"expired"}
    await cell.complete("w1", epoch, late, "expired", b"expired late")
    assert (await cell.record(items[1].id))["status"] == b"expired"
    assert await cell.exists(cell.keys.deadlines, cell.keys.parked(OTHER_REF)) == []
    assert await cell.scripts.reap(MAX_ATTEMPTS) is None
