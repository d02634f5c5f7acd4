"""announce.lua: a loaded model becomes a holder and takes what is parked for it."""

from __future__ import annotations

from shared.scripts import CHUNK
from tests.helpers.cell import LEASE_MS, Cell
from tests.helpers.factories import OTHER_REF, REF, kept, placing
from tests.lua.fleet import loaded_once, members, warm_hint


async def announce(cell: Cell, worker: str, epoch: str, token: str, ref: str = REF) -> int:
    return await cell.scripts.announce(worker, epoch, ref, token, "device 100")


async def test_the_worker_becomes_a_holder(cell: Cell) -> None:
    """The map says where the model is, in which tier and since when; the reverse is kept too."""
    cell.scripts.now_ms = 1_000_000
    epoch = await cell.worker("w1")
    assert await announce(cell, "w1", epoch, "") == 0
    assert await cell.client.hgetall(cell.keys.holders(REF)) == {b"w1": b"device 100 1000000"}
    assert await cell.client.smembers(cell.keys.holds("w1")) == {REF.encode()}


async def test_a_copy_that_is_announced_again_keeps_its_since(cell: Cell) -> None:
    """A report that comes again is no new copy."""
    cell.scripts.now_ms = 1_000_000
    epoch = await cell.worker("w1", holds=[REF])
    before = await cell.client.hget(cell.keys.holders(REF), "w1")
    cell.scripts.now_ms += 1
    await announce(cell, "w1", epoch, "")
    assert await cell.client.hget(cell.keys.holders(REF), "w1") == before


async def test_what_is_parked_moves_to_the_holder_in_its_order(cell: Cell) -> None:
    """The lease, the parked stream and the negative cache are gone; records name the new place."""
    epoch = await cell.worker("w1")
    items = [kept(body=b"1"), placing(body=b"2"), kept(body=b"3")]
    await cell.place(*items)
    token = await cell.claim("w1", epoch)
    assert await announce(cell, "w1", epoch, token) == 0
    entries = await cell.stream(cell.keys.work("w1"))
    assert [e.fields["body"] for e in entries] == [b"1", b"2", b"3"]
    assert [e.fields["id"].decode() for e in entries] == [i.id for i in items]
    assert await cell.exists(
        cell.keys.load(REF), cell.keys.parked(REF), cell.keys.unloadable(REF), cell.keys.parked_refs
    ) == []  # fmt: skip
    record = await cell.record(items[0].id)
    assert (record["status"], record["stream"]) == (b"placed", cell.keys.work("w1").encode())
    assert record["entry"] == entries[0].entry


async def test_a_moved_request_can_be_cancelled(cell: Cell) -> None:
    """Its record was updated in the step that moved it."""
    epoch = await cell.worker("w1")
    item = kept()
    await cell.place(item)
    await announce(cell, "w1", epoch, await cell.claim("w1", epoch))
    assert await cell.cancel(item.id) == "cancelled"
    assert await cell.client.xlen(cell.keys.work("w1")) == 0


async def test_parked_requests_are_spread_over_all_holders(cell: Cell) -> None:
    """A second copy that was loaded because of a burst is used for it."""
    epoch = await cell.worker("w1")
    await cell.worker("w2")
    await cell.place(*[placing() for _ in range(4)])
    token = await cell.claim("w1", epoch)
    await cell.client.hset(cell.keys.holders(REF), "w2", "device 100 0")
    await announce(cell, "w1", epoch, token)
    counts = [await cell.client.xlen(cell.keys.work(w)) for w in ("w1", "w2")]
    assert counts == [2, 2]


async def test_many_parked_requests_move_in_bounded_chunks(cell: Cell) -> None:
    """The caller is told how many are left; the lease is held until the last has moved."""
    epoch = await cell.worker("w1")
    await cell.place(*[placing() for _ in range(2 * CHUNK + 1)])
    token = await cell.claim("w1", epoch)
    assert await announce(cell, "w1", epoch, token) == CHUNK + 1
    assert await cell.token() == token
    assert await announce(cell, "w1", epoch, token) == 1
    assert await announce(cell, "w1", epoch, token) == 0
    assert await cell.token() == ""
    assert await cell.client.xlen(cell.keys.work("w1")) == 2 * CHUNK + 1


async def test_a_stale_token_announces_nothing(cell: Cell) -> None:
    """Neither a wrong one, nor one that another worker claimed, nor one whose lease is over."""
    first, second = await cell.worker("w1"), await cell.worker("w2")
    await cell.place(placing())
    token = await cell.claim("w1", first)
    assert await announce(cell, "w1", first, "0" * 24) == -1
    assert await announce(cell, "w2", second, token) == -1
    await cell.client.delete(cell.keys.load(REF))
    assert await announce(cell, "w1", first, token) == -1
    assert await cell.exists(cell.keys.holders(REF), cell.keys.holds("w1")) == []
    assert await cell.client.xlen(cell.keys.parked(REF)) == 1


async def test_a_worker_of_an_older_epoch_announces_nothing(cell: Cell) -> None:
    """Also with the right token, also if it was never registered."""
    old = await cell.worker("w1")
    await cell.place(placing())
    token = await cell.claim("w1", old)
    await cell.worker("w1")
    assert await announce(cell, "w1", old, token) == -2
    assert await announce(cell, "w1", old, "") == -2
    assert await announce(cell, "w9", old, "") == -2
    assert await cell.exists(cell.keys.holders(REF)) == []


async def test_a_report_without_a_token_leaves_the_lease_of_a_load_alone(cell: Cell) -> None:
    """A copy that was held all along serves what is parked; the load then has nothing to do."""
    loading, holding = await cell.worker("w1"), await cell.worker("w2")
    await cell.place(placing())
    token = await cell.claim("w1", loading)
    assert await announce(cell, "w2", holding, "") == 0
    assert await cell.token() == token
    assert await announce(cell, "w1", loading, token) == 0
    assert await cell.token() == ""


async def test_a_holder_that_looks_dead_loses_nothing_that_is_parked(cell: Cell) -> None:
    """Its lease ran out while it loaded, and the model is in the negative cache: requests stay
    parked, and once it has renewed its lease the sweep gives them to it."""
    cell.scripts.now_ms = 1_000_000
    epoch = await cell.worker("w1")
    item = kept()
    await cell.place(item)
    token = await cell.claim("w1", epoch)
    await cell.client.set(cell.keys.unloadable(REF), "load_failed elsewhere", px=10_000)
    cell.scripts.now_ms += LEASE_MS
    assert await announce(cell, "w1", epoch, token) == 0
    assert await cell.client.xlen(cell.keys.parked(REF)) == 1
    assert (await cell.scripts.heartbeat("w1", epoch, "one", LEASE_MS, 1, {})).answer == "ok"
    assert await cell.scripts.sweep() == (0, 0, 1)
    assert await cell.client.xlen(cell.keys.work("w1")) == 1
    assert (await cell.record(item.id))["status"] == b"placed"


async def test_only_the_model_announced_moves(cell: Cell) -> None:
    """Others stay parked."""
    epoch = await cell.worker("w1")
    await cell.place(placing(), placing(ref=OTHER_REF))
    await announce(cell, "w1", epoch, await cell.claim("w1", epoch))
    assert await cell.client.xlen(cell.keys.parked(OTHER_REF)) == 1
    assert await cell.client.smembers(cell.keys.parked_refs) == {OTHER_REF.encode()}


async def test_an_announcement_may_be_repeated(cell: Cell) -> None:
    """Its answer was lost: the copy that has just been loaded is not thrown away."""
    epoch = await cell.worker("w1")
    await cell.place(placing())
    token = await cell.claim("w1", epoch)
    assert await cell.scripts.announce("w1", epoch, REF, token, "device 1") == 0
    assert await cell.scripts.announce("w1", epoch, REF, token, "device 1") == 0
    assert await cell.scripts.announce("w1", epoch, OTHER_REF, token, "device 1") == -1


async def test_what_a_load_has_taught_is_kept_for_a_week(cell: Cell) -> None:
    """Fields that it did not measure stay; a copy that was held already teaches nothing."""
    epoch = await cell.worker("w1")
    await loaded_once(cell, host=7, remote=900)
    learned = {"remote": 1200, "own:cpu": 4096}
    assert await cell.scripts.announce("w1", epoch, REF, "", "device 1", learned) == 0
    known = {b"host": b"7", b"remote": b"1200", b"own:cpu": b"4096"}
    assert await cell.client.hgetall(cell.keys.stats(REF)) == known
    assert 86_400_000 < await cell.client.pttl(cell.keys.stats(REF)) <= 604_800_000
    await announce(cell, "w1", epoch, "", OTHER_REF)
    assert await cell.exists(cell.keys.stats(OTHER_REF), cell.keys.min_copies) == []


async def test_the_minimum_number_of_copies_of_a_manifest_is_kept(cell: Cell) -> None:
    """From its first load on; another copy is ordered from who has none."""
    epoch = await cell.worker("w1")
    await cell.worker("w2")
    learned = {"min_copies": 2, "max_copies": 0, "pin": 0}
    await cell.scripts.announce("w1", epoch, REF, "", "device 1", learned)
    assert await members(cell, cell.keys.min_copies) == {REF}
    assert await cell.scripts.reconcile() == (0, 1)


async def test_a_fenced_or_stale_worker_records_nothing(cell: Cell) -> None:
    """Nor does it take a hint away."""
    old = await cell.worker("w1")
    epoch = await cell.worker("w1")
    await warm_hint(cell, "w1", "disk")
    learned = {"min_copies": 2}
    assert await cell.scripts.announce("w1", old, REF, "", "device 1", learned) == -2
    assert await cell.scripts.announce("w1", epoch, REF, "0" * 24, "device 1", learned) == -1
    assert await cell.exists(cell.keys.stats(REF), cell.keys.min_copies) == []
    assert await cell.client.hexists(cell.keys.warm(REF), "w1")
