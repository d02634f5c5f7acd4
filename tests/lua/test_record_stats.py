"""record_stats.lua: what a worker found out of a model that it serves."""

from __future__ import annotations

from tests.helpers.cell import Cell
from tests.helpers.factories import REF

WEEK_MS = 604_800_000


async def test_what_was_found_stands_beside_what_loads_have_learned(cell: Cell) -> None:
    """It lapses with that."""
    epoch = await cell.worker("w1")
    await cell.scripts.announce("w1", epoch, REF, "", "device 1", {"remote": 1200})
    assert await cell.scripts.record_stats("w1", epoch, REF, {"rows": "it sorts"}) is True
    known = await cell.client.hgetall(cell.keys.stats(REF))
    assert known == {b"remote": b"1200", b"rows": b"it sorts"}
    assert WEEK_MS - 60_000 < await cell.client.pttl(cell.keys.stats(REF)) <= WEEK_MS


async def test_a_worker_that_lost_its_lease_teaches_nothing(cell: Cell) -> None:
    """It may have found it in another life."""
    old = await cell.worker("w1")
    await cell.worker("w1")
    assert await cell.scripts.record_stats("w1", old, REF, {"rows": "it sorts"}) is False
    assert await cell.exists(cell.keys.stats(REF)) == []
