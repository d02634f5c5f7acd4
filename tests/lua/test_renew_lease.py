"""renew_lease.lua: a worker without news gets its lease, one that is to be answered nothing."""

from __future__ import annotations

import pytest

from tests.helpers.cell import LEASE_MS, Cell
from tests.helpers.factories import REF, placing
from tests.lua.fleet import NOW_MS, worker


async def at_rest(cell: Cell) -> str:
    """Worker w1 has beaten once since it announced its copy; its epoch."""
    cell.scripts.now_ms = NOW_MS
    epoch = await worker(cell, holds=[REF])
    await cell.scripts.heartbeat("w1", epoch, "one", LEASE_MS, 1, {"used_bytes": 7})
    cell.scripts.now_ms += 3000
    return epoch


async def renew(cell: Cell, epoch: str, held: int = 1) -> bool:
    return await cell.scripts.renew_lease("w1", epoch, LEASE_MS, held)


async def test_the_lease_is_renewed_and_nothing_else_is_written(cell: Cell) -> None:
    """From now on, as by a heartbeat."""
    epoch = await at_rest(cell)
    record = await cell.client.hgetall(cell.keys.worker("w1"))
    assert await renew(cell, epoch)
    assert await cell.client.zscore(cell.keys.workers, "w1") == NOW_MS + 3000 + LEASE_MS
    assert await cell.client.hgetall(cell.keys.worker("w1")) == record


@pytest.mark.parametrize(
    "what", ["epoch", "map", "stream", "group", "record", "hints", "crashed", "unhealthy", "clock"]
)
async def test_whatever_a_heartbeat_would_say_or_do_is_left_to_it(cell: Cell, what: str) -> None:
    """Nothing is renewed, so that the heartbeat follows at once."""
    epoch = await at_rest(cell)
    keys, client = cell.keys, cell.client
    if what == "map":
        await client.delete(keys.holds("w1"))
    elif what == "stream":
        await client.delete(keys.work("w1"))
    elif what == "group":
        await cell.place(placing())
        await client.xgroup_destroy(keys.work("w1"), epoch)
    elif what == "record":
        await client.delete(keys.worker("w1"))
    elif what == "hints":
        await cell.scripts.set_policy(REF, {"priority": "1"})
    elif what == "crashed":
        await client.hset(keys.crashed("w1"), "suspect", "1")
        await client.expire(keys.crashed("w1"), 60)
    elif what == "unhealthy":
        await client.hset(keys.unhealthy, "w1", "suspect")
    elif what == "clock":
        cell.scripts.now_ms = None
        await client.set(keys.clock, f"{NOW_MS} 0 0 {LEASE_MS}")  # long ago
    before = await client.zscore(keys.workers, "w1")
    assert not await renew(cell, "7" if what == "epoch" else epoch)
    assert await client.zscore(keys.workers, "w1") == before


async def test_the_heartbeat_that_follows_says_what_it_is(cell: Cell) -> None:
    """And after it the lease is renewed alone again."""
    epoch = await at_rest(cell)
    await cell.scripts.set_policy(REF, {"priority": "1"})
    assert not await renew(cell, epoch)
    beaten = await cell.scripts.heartbeat("w1", epoch, "one", LEASE_MS, 1, {})
    assert beaten == ("ok", (REF,))
    assert await renew(cell, epoch)
