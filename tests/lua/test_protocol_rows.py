"""lib/protocol: in a large cell a row tells who joins that a process of another release lives."""

from __future__ import annotations

import pytest

from shared.errors import ConfigError
from shared.scripts import Scripts
from tests.helpers.cell import LEASE_MS, MAX_ATTEMPTS, Cell
from tests.lua.fleet import NOW_MS
from tests.lua.test_cost import MANY, crowd
from tests.lua.test_releases import BOTH, JOINS, join, release


@pytest.fixture
async def crowded(cell: Cell) -> Cell:
    """More processes than one that joins asks; those of the test are seldom among these."""
    cell.scripts.now_ms = NOW_MS
    await crowd(cell, 0, MANY)
    pipe = cell.client.pipeline(transaction=False)
    for name in [f"x{number}" for number in range(MANY)]:
        pipe.hset(cell.keys.worker(name), "protocol", "2 1")
        pipe.set(cell.keys.gateway(name), "2 1", ex=60)
    await pipe.execute()
    return cell


def joining(cell: Cell, writes: int, reads: int) -> Scripts:
    scripts = release(cell, writes, reads)
    scripts.now_ms = cell.scripts.now_ms
    return scripts


@BOTH
@JOINS
async def test_one_of_many_is_found_by_its_row(crowded: Cell, there: str, joins: str) -> None:
    """Nobody asks them all; when its lease has run out it stands in the way a little longer."""
    await join(joining(crowded, 1, 1), there, "there")
    with pytest.raises(ConfigError, match=f"{there} there is too old: upgrade it to protocol 2"):
        await join(joining(crowded, 3, 2), joins, "joins")
    assert crowded.scripts.now_ms is not None
    crowded.scripts.now_ms += LEASE_MS * 11 // 10
    await join(joining(crowded, 3, 2), joins, "joins")


async def test_the_row_of_one_that_left_is_that_of_the_others(crowded: Cell) -> None:
    """A heartbeat writes the row anew before it ends; the last one's ends with its lease."""
    old = joining(crowded, 1, 1)
    await join(old, "worker", "first")
    epoch = await old.register("second", LEASE_MS, MAX_ATTEMPTS, {"state": "ready"})
    await crowded.client.zrem(crowded.keys.workers, "first")
    crowded.scripts.now_ms = old.now_ms = NOW_MS + LEASE_MS // 2
    beaten = await old.heartbeat("second", epoch, "", LEASE_MS, 0, {})
    assert beaten.answer == "ok"
    crowded.scripts.now_ms = NOW_MS + LEASE_MS * 3 // 2 - 1
    with pytest.raises(ConfigError, match="worker second is too old"):
        await join(joining(crowded, 3, 2), "worker", "joins")


async def test_in_a_grace_a_row_that_could_not_be_renewed_counts(crowded: Cell) -> None:
    """Redis was away: the process that it names may live."""
    await join(joining(crowded, 1, 1), "worker", "there")
    crowded.scripts.now_ms = now = NOW_MS + 2 * LEASE_MS
    await crowded.client.set(crowded.keys.clock, f"{now} 0 {now + 1} {LEASE_MS}")
    with pytest.raises(ConfigError, match="worker there is too old"):
        await join(joining(crowded, 3, 2), "worker", "joins")
    await crowded.client.set(crowded.keys.clock, f"{now} 0 {now} {LEASE_MS}")
    await join(joining(crowded, 3, 2), "worker", "joins")


HEARTBEATS = {
    "a report": lambda cell, epoch: cell.scripts.heartbeat("w1", epoch, "one", LEASE_MS, 0, {}),
    "no news": lambda cell, epoch: cell.scripts.renew_lease("w1", epoch, LEASE_MS, 0),
}


@pytest.mark.parametrize("how", HEARTBEATS)
async def test_one_heartbeat_in_a_while_writes_the_row_of_all(cell: Cell, how: str) -> None:
    """It names the process that wrote it, and outlasts the leases of the others."""
    cell.scripts.now_ms = NOW_MS
    epoch = await cell.worker("w1")
    await cell.worker("w2")
    row = f"{NOW_MS + LEASE_MS * 11 // 10} worker w1".encode()
    assert await cell.client.hgetall(cell.keys.protocols) == {b"1 1": row}
    cell.scripts.now_ms += LEASE_MS // 10
    await cell.gateway()
    assert await cell.client.hget(cell.keys.protocols, "1 1") == row
    cell.scripts.now_ms += 1
    await HEARTBEATS[how](cell, epoch)
    later = f"{cell.scripts.now_ms + LEASE_MS * 11 // 10} worker w1".encode()
    assert await cell.client.hget(cell.keys.protocols, "1 1") == later
