"""heartbeat.lua: a worker's lease is renewed, and it learns when Redis and it disagree."""

from __future__ import annotations

from tests.helpers.cell import LEASE_MS, Cell
from tests.helpers.factories import OTHER_REF, REF, placing


async def beat(cell: Cell, epoch: str, held: int = 1, **fields: object) -> str:
    return (await cell.scripts.heartbeat("w1", epoch, "one", LEASE_MS, held, fields)).answer


async def test_the_lease_is_renewed_and_the_report_kept(cell: Cell) -> None:
    """Expiry moves to now plus the lease; fields replace those of before."""
    cell.scripts.now_ms = 1_000_000
    epoch = await cell.worker("w1", holds=[REF])
    cell.scripts.now_ms += 3000
    assert await beat(cell, epoch, used_bytes=123, state="draining") == "ok"
    assert await cell.client.zscore(cell.keys.workers, "w1") == 1_003_000 + LEASE_MS
    record = await cell.client.hgetall(cell.keys.worker("w1"))
    assert (record[b"used_bytes"], record[b"state"], record[b"device_name"]) == (
        b"123",
        b"draining",
        b"cpu",
    )


async def test_it_is_noted_when_the_use_of_copies_was_reported(cell: Cell) -> None:
    """Other fields do not change that."""
    cell.scripts.now_ms = 1_000_000
    epoch = await cell.worker("w1", holds=[REF])
    cell.scripts.now_ms += 3000
    assert await beat(cell, epoch, used_bytes=1, copies="{}") == "ok"
    cell.scripts.now_ms += 3000
    assert await beat(cell, epoch, used_bytes=2) == "ok"
    assert await cell.client.hget(cell.keys.worker("w1"), "copies_at") == b"1003000"


async def test_a_lease_that_ran_out_but_was_not_reaped_is_revived(cell: Cell) -> None:
    """Nothing was moved yet, so nothing has to be registered again."""
    cell.scripts.now_ms = 1_000_000
    epoch = await cell.worker("w1", holds=[REF])
    cell.scripts.now_ms += LEASE_MS
    assert (await cell.place(placing()))[0].status == "parked"
    assert await beat(cell, epoch) == "ok"
    assert (await cell.place(placing(ref=OTHER_REF)))[0].status == "parked"
    assert (await cell.place(placing()))[0].status == "placed"


async def test_a_map_that_lacks_models_asks_for_a_report(cell: Cell) -> None:
    """After FLUSHALL of a part, or a failover: the worker announces again."""
    epoch = await cell.worker("w1", holds=[REF])
    assert await beat(cell, epoch, held=2) == "resync"
    await cell.client.delete(cell.keys.holds("w1"))
    assert await beat(cell, epoch, held=1) == "resync"


async def test_a_reaped_or_replaced_worker_is_fenced(cell: Cell) -> None:
    """It must register again; its lease is not renewed."""
    old = await cell.worker("w1")
    await cell.worker("w1")
    before = await cell.client.zscore(cell.keys.workers, "w1")
    assert await beat(cell, old, held=0, used_bytes=1) == "fenced"
    assert await cell.client.zscore(cell.keys.workers, "w1") == before
    assert not await cell.client.hexists(cell.keys.worker("w1"), "used_bytes")


async def test_after_a_flush_the_worker_is_fenced(cell: Cell) -> None:
    """Its record is gone; no half of it is written back."""
    epoch = await cell.worker("w1")
    await cell.client.delete(cell.keys.worker("w1"), cell.keys.workers)
    assert await beat(cell, epoch, held=0) == "fenced"
    assert await cell.exists(cell.keys.worker("w1"), cell.keys.workers) == []


async def test_a_lost_work_stream_is_noticed(cell: Cell) -> None:
    """The worker registers again, which makes a new one."""
    epoch = await cell.worker("w1")
    await cell.client.delete(cell.keys.work("w1"))
    assert await beat(cell, epoch, held=0) == "fenced"


async def test_a_lost_group_is_noticed(cell: Cell) -> None:
    """Without it the worker can read nothing; registering makes it again and loses no request."""
    epoch = await cell.worker("w1", holds=[REF])
    await cell.place(placing())
    await cell.client.xgroup_destroy(cell.keys.work("w1"), epoch)
    assert await beat(cell, epoch) == "fenced"
    await cell.worker("w1", holds=[REF])
    assert len(await cell.read("w1")) == 1


async def test_a_worker_whose_id_was_taken_gets_taken(cell: Cell) -> None:
    """By another process: its own earlier registration, whose answer was lost, is no other's."""
    old = await cell.worker("w1", incarnation="one")
    await cell.worker("w1", incarnation="one")
    assert await beat(cell, old, 0) == "fenced"
    new = await cell.worker("w1", incarnation="two")
    assert await beat(cell, old, 0) == "taken"
    await cell.scripts.leave("w1", new, 3)
    assert await beat(cell, old, 0) == "fenced"
