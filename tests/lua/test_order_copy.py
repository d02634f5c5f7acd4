"""order_copy.lua and order_unload.lua: a copy is loaded, or freed, although nobody has asked."""

from __future__ import annotations

import pytest

from tests.helpers.cell import Cell
from tests.helpers.factories import OTHER_REF, REF, kept, placing
from tests.lua.fleet import NOW_MS, lease, loaded_once, members, orders_by_name, warm_hint, worker

WEEK_MS = 604_800_000


async def test_it_is_ordered_like_any_other_load(cell: Cell) -> None:
    """For the worker that is nearest, and in the cold queue; a repeat finds it on its way."""
    epoch = await worker(cell)
    await warm_hint(cell, "w1", "disk")
    assert await cell.scripts.order_copy(REF) == ("ordered", "")
    order = await lease(cell)
    assert (order["for"], order["extra"], order["phase"]) == ("w1", "requested", "ordered")
    assert len(await cell.orders()) == len(await orders_by_name(cell)) == 1
    assert await cell.scripts.order_copy(REF) == ("loading", "ordered")
    await cell.claim("w1", epoch)
    assert await cell.scripts.order_copy(REF) == ("loading", "loading")
    assert await cell.orders() == []


async def test_what_is_held_is_not_ordered(cell: Cell) -> None:
    """The answer says how many live workers hold it."""
    cell.scripts.now_ms = NOW_MS
    for name in ("w1", "w2"):
        await worker(cell, name, holds=[REF])
    await worker(cell, "w3", holds=[REF], lease_ms=1)
    cell.scripts.now_ms += 1
    assert await cell.scripts.order_copy(REF) == ("held", "2")
    assert await cell.orders() == []


async def test_without_a_live_worker_no_copy_is_ordered(cell: Cell) -> None:
    """None at all, or only dead ones: nothing is left behind."""
    cell.scripts.now_ms = NOW_MS
    assert await cell.scripts.order_copy(REF) == ("no_worker", "")
    await worker(cell, lease_ms=1)
    cell.scripts.now_ms += 1
    assert await cell.scripts.order_copy(REF) == ("no_worker", "")
    assert await cell.exists(cell.keys.load(REF), cell.keys.stats(REF), cell.keys.min_copies) == []


async def test_without_capacity_a_moment_ago_no_copy_is_ordered(cell: Cell) -> None:
    """`no_capacity` is told as `nobody`."""
    await worker(cell)
    await cell.client.set(cell.keys.no_capacity(REF), "w1", px=5000)
    assert await cell.scripts.order_copy(REF) == ("no_worker", "")


async def test_what_failed_a_moment_ago_is_not_ordered(cell: Cell) -> None:
    """The cause is told, without the mark of a passing one."""
    await worker(cell)
    await cell.client.set(cell.keys.unloadable(REF), "corrupt its hash", px=5000)
    assert await cell.scripts.order_copy(REF) == ("unloadable", "corrupt its hash")
    await cell.client.set(cell.keys.unloadable(REF), "~store_unavailable away", px=5000)
    assert await cell.scripts.order_copy(REF) == ("unloadable", "store_unavailable away")
    assert await cell.orders() == []


async def test_what_crashes_workers_is_not_ordered(cell: Cell) -> None:
    """The reason is told."""
    cell.scripts.now_ms = NOW_MS
    for _ in range(5):
        epoch = await worker(cell)
        assert await cell.scripts.reload("w1", epoch, REF, 1000) or await _claimed(cell, epoch)
        await cell.scripts.fence_worker("w1", epoch, 0, "was killed by SIGSEGV", 3)
    await worker(cell)
    status, cause = await cell.scripts.order_copy(REF)
    assert status == "quarantined" and cause.endswith("was killed by SIGSEGV")


async def _claimed(cell: Cell, epoch: str) -> bool:
    await cell.scripts.order_copy(REF)
    return bool(await cell.claim("w1", epoch))


async def test_a_least_number_is_kept_from_then_on(cell: Cell) -> None:
    """Also when there is nobody yet: the copies come with the workers. None leaves it as it is."""
    assert await cell.scripts.order_copy(REF, 2) == ("no_worker", "")
    assert await members(cell, cell.keys.min_copies) == {REF}
    assert await cell.client.hget(cell.keys.stats(REF), "min_copies") == b"2"
    assert 0 < await cell.client.pttl(cell.keys.stats(REF)) <= WEEK_MS
    await cell.scripts.order_copy(REF)
    assert await cell.client.hget(cell.keys.stats(REF), "min_copies") == b"2"
    await worker(cell)
    assert await cell.scripts.reconcile() == (0, 1)


async def test_a_least_number_of_none_wants_nothing(cell: Cell) -> None:
    """It takes an earlier one back, and orders nothing."""
    await cell.scripts.order_copy(REF, 1)
    await worker(cell)
    assert await cell.scripts.order_copy(REF, 0) == ("held", "0")
    assert await cell.orders() == []
    assert await cell.scripts.reconcile() == (0, 0)
    assert await cell.exists(cell.keys.min_copies) == []


async def test_a_version_that_has_left_keeps_nothing(cell: Cell) -> None:
    """Whoever pinned it or asked for copies; an order that no worker has claimed is taken back."""
    epoch = await worker(cell, holds=[REF])
    await loaded_once(cell, pin=1, min_copies=1)
    await cell.scripts.set_policy(REF, {"pin": "1", "min_copies": "1", "priority": "2"})
    await cell.scripts.order_copy(OTHER_REF, 1)
    for ref in (REF, OTHER_REF):
        await cell.scripts.order_copy(ref, 0)
    assert await cell.scripts.retire("w1", epoch, REF, "", "evict") not in ("pinned", "needed")
    assert await cell.orders() == []
    assert await cell.client.hgetall(cell.keys.policy(REF)) == {b"priority": b"2"}
    assert await cell.scripts.reconcile() == (0, 0)
    assert await cell.exists(cell.keys.min_copies, cell.keys.loaded_versions("bert")) == []


async def test_what_the_api_has_set_counts_more_than_a_manifest(cell: Cell) -> None:
    """An operator who wants none gets none."""
    await cell.scripts.set_policy(REF, {"min_copies": "0"})
    await cell.scripts.order_copy(REF, 2)
    assert await cell.exists(cell.keys.min_copies) == []


async def test_every_live_holder_gets_one_unload_order(cell: Cell) -> None:
    """However often it is asked for, and before the loads that wait there; it has a lifetime."""
    cell.scripts.now_ms = NOW_MS
    for name in ("w1", "w2"):
        await worker(cell, name, holds=[REF])
    await worker(cell, "w3", holds=[REF], lease_ms=1)
    cell.scripts.now_ms += 1
    await cell.client.rpush(cell.keys.orders("w1"), f"load {OTHER_REF} t")
    for _ in range(3):
        assert await cell.scripts.order_unload(REF) == 2
    assert await orders_by_name(cell, "w1") == [f"unload {REF}", f"load {OTHER_REF} t"]
    assert await orders_by_name(cell, "w2") == [f"unload {REF}"]
    assert await orders_by_name(cell, "w3") == []
    assert 0 < await cell.client.pttl(cell.keys.orders("w2")) <= 10_000


async def test_an_unclaimed_order_is_cancelled(cell: Cell) -> None:
    """If nobody waits for it; a load that has begun goes on."""
    epoch = await worker(cell)
    await cell.scripts.order_copy(REF)
    assert await cell.scripts.order_unload(REF) == 0
    assert await cell.exists(cell.keys.load(REF)) == [] == await cell.orders()
    await cell.scripts.order_copy(OTHER_REF)
    await cell.place(kept(ref=OTHER_REF))
    await cell.scripts.order_unload(OTHER_REF)
    token = await cell.claim("w1", epoch, OTHER_REF)
    await cell.scripts.order_unload(OTHER_REF)
    assert await cell.token(OTHER_REF) == token


async def test_a_model_without_holders_sends_no_orders(cell: Cell) -> None:
    """Zero, and no key."""
    await worker(cell)
    assert await cell.scripts.order_unload(REF) == 0
    assert await cell.exists(cell.keys.orders("w1"), cell.keys.policy(REF)) == []


@pytest.mark.parametrize("pinned_by", ["the api", "its manifest", "a session"])
async def test_what_is_pinned_is_not_unloaded(cell: Cell, pinned_by: str) -> None:
    """Nothing is changed."""
    await worker(cell, holds=[REF], budget_bytes=100)
    await loaded_once(cell, min_copies=1)
    if pinned_by == "the api":
        await cell.scripts.set_policy(REF, {"pin": "1"})
    elif pinned_by == "its manifest":
        await loaded_once(cell, pin=1)
    else:
        await cell.scripts.open_session("s", 60_000, 10, [(REF, 1)])
    assert await cell.scripts.order_unload(REF) == -1
    assert await orders_by_name(cell) == []
    assert not await cell.client.hexists(cell.keys.policy(REF), "min_copies")


async def test_what_was_unloaded_does_not_come_back_by_itself(cell: Cell) -> None:
    """It had a least number of copies; whoever asks for it has it loaded again."""
    epoch = await worker(cell, holds=[REF])
    await cell.scripts.order_copy(REF, 1)
    await cell.scripts.set_policy(REF, {"preload": "1"})
    assert await cell.scripts.order_unload(REF) == 1
    await cell.scripts.retire("w1", epoch, REF)
    assert await cell.scripts.reconcile() == (0, 0)
    assert (await cell.place(kept()))[0].status == "parked"
    assert await cell.token() != ""


async def test_what_was_placed_before_is_still_answered(cell: Cell) -> None:
    """Unloading is an order to the worker, which drains."""
    await worker(cell, holds=[REF])
    await cell.place(placing())
    await cell.scripts.order_unload(REF)
    assert (await cell.place(placing()))[0].status == "placed"


async def test_thousands_of_holders_get_the_order_in_several_calls(cell: Cell) -> None:
    """Each of them once, however many a call reaches."""
    cell.scripts.now_ms = NOW_MS
    names = [f"x{number}" for number in range(1500)]
    await cell.client.hset(cell.keys.holders(REF), mapping=dict.fromkeys(names, "device 1 1"))
    await cell.client.zadd(cell.keys.workers, dict.fromkeys(names, NOW_MS + 1))
    count, cursor = await cell.scripts._run("order_unload", REF, "0", 128)
    assert 0 < count < 300 and cursor != b"0"
    assert await cell.scripts.order_unload(REF) == len(names)
    for name in names:
        assert await orders_by_name(cell, name) == [f"unload {REF}"]
