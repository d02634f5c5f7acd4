"""reconcile.lua: sessions end on time, and copies that should be there are ordered (I34)."""

from __future__ import annotations

from shared.script_runner import CHUNK
from tests.helpers.cell import Cell
from tests.helpers.factories import OTHER_REF, REF, kept
from tests.lua.fleet import NOW_MS, claim, lease, loaded_once, members, worker

TTL_MS = 30_000


async def test_without_requirements_nothing_is_done(cell: Cell) -> None:
    """Also in an empty cell."""
    assert await cell.scripts.reconcile() == (0, 0)
    await worker(cell, holds=[REF])
    assert await cell.scripts.reconcile() == (0, 0)


async def test_a_session_ends_when_it_expires(cell: Cell) -> None:
    """At the millisecond; others go on, and a model that only it wanted is wanted no more."""
    cell.scripts.now_ms = NOW_MS
    await worker(cell, budget_bytes=100, holds=[REF, OTHER_REF], lease_ms=10 * TTL_MS)
    await cell.scripts.open_session("s1", TTL_MS, 10, [(REF, 1)])
    await cell.scripts.open_session("s2", TTL_MS + 1, 10, [(OTHER_REF, 1)])
    cell.scripts.now_ms += TTL_MS - 1
    assert await cell.scripts.reconcile() == (0, 0)
    cell.scripts.now_ms += 1
    assert await cell.scripts.reconcile() == (1, 0)
    assert await cell.exists(cell.keys.session("s1"), cell.keys.pinned(REF)) == []
    assert await members(cell, cell.keys.pinned(OTHER_REF)) == {"s2"}
    assert await members(cell, cell.keys.min_copies) == {OTHER_REF}


async def test_what_a_session_lost_is_loaded_again_until_it_is_closed(cell: Cell) -> None:
    """Its worker died: one copy of each of its models is wanted."""
    cell.scripts.now_ms = NOW_MS
    first = await worker(cell, "w1", budget_bytes=100, holds=[REF])
    second = await worker(cell, "w2", budget_bytes=100)
    await cell.scripts.open_session("s1", TTL_MS, 10, [(REF, 1)])
    await cell.scripts.fence_worker("w1", first, 0, "was killed", 3)
    assert await cell.scripts.reconcile() == (0, 1)
    assert await claim(cell, "w2", second) == "claimed"
    await cell.scripts.fence_worker("w2", second, 0, "was killed", 3)
    await cell.scripts.close_session("s1")
    assert await cell.scripts.reconcile() == (0, 0)


async def test_pins_of_a_session_without_a_gateway_are_deleted(cell: Cell) -> None:
    """No gateway was there until its hash was gone: its models are let go all the same."""
    cell.scripts.now_ms = NOW_MS
    epoch = await worker(cell, budget_bytes=100, holds=[REF], lease_ms=10 * TTL_MS)
    await cell.scripts.open_session("s1", TTL_MS, 10, [(REF, 1)])
    await cell.client.delete(cell.keys.session("s1"))
    cell.scripts.now_ms += TTL_MS
    assert await cell.scripts.reconcile() == (1, 0)
    assert await cell.exists(cell.keys.pinned(REF), cell.keys.min_copies) == []
    assert await cell.scripts.retire("w1", epoch, REF, "", "evict") == "0-0"


async def test_copies_are_ordered_one_after_the_other_up_to_the_least_number(cell: Cell) -> None:
    """Each from a worker that has none, whichever asks first."""
    epochs = {name: await worker(cell, name) for name in ("w1", "w2", "w3")}
    await cell.scripts.order_copy(REF, 2)
    for name in ("w1", "w2"):
        token = await cell.claim(name, epochs[name])
        assert await cell.scripts.reconcile() == (0, 0)  # one is on its way
        await cell.scripts.announce(name, epochs[name], REF, token, "device 1")
        assert await cell.scripts.reconcile() == (0, 1 if name == "w1" else 0)
    assert await lease(cell) == {}


async def test_a_dead_holder_does_not_count(cell: Cell) -> None:
    """Nor before it is reaped."""
    cell.scripts.now_ms = NOW_MS
    await worker(cell, "w1", holds=[REF], lease_ms=1)
    await worker(cell, "w2")
    await cell.scripts.order_copy(REF, 1)
    cell.scripts.now_ms += 1
    assert await cell.scripts.reconcile() == (0, 1)


async def test_more_copies_than_workers_are_not_ordered(cell: Cell) -> None:
    """Nor more than there may be; nor any from nobody."""
    await cell.scripts.order_copy(REF, 5)
    assert await cell.scripts.reconcile() == (0, 0)
    await worker(cell, "w1", holds=[REF])
    assert await cell.scripts.reconcile() == (0, 0)
    await worker(cell, "w2")
    await loaded_once(cell, max_copies=1)
    assert await cell.scripts.reconcile() == (0, 0)
    assert await cell.orders() == []
    assert await members(cell, cell.keys.min_copies) == {REF}


async def test_a_model_that_failed_crashed_or_did_not_fit_lately_waits(cell: Cell) -> None:
    """And is ordered when that has passed."""
    await worker(cell)
    for key in (cell.keys.unloadable(REF), cell.keys.no_capacity(REF)):
        await cell.scripts.order_copy(REF, 1)
        await cell.client.delete(cell.keys.load(REF))
        await cell.client.set(key, "cause", px=5000)
        assert await cell.scripts.reconcile() == (0, 0)
        await cell.client.delete(key)
        assert await cell.scripts.reconcile() == (0, 1)


async def test_a_crashing_model_is_not_ordered(cell: Cell) -> None:
    """Until somebody tries it again."""
    cell.scripts.now_ms = NOW_MS
    for _ in range(5):
        epoch = await worker(cell)
        await cell.scripts.order_copy(REF, 1)
        await cell.claim("w1", epoch)
        await cell.scripts.fence_worker("w1", epoch, 0, "was killed", 3)
        cell.scripts.now_ms += 1  # or two orders would have one token
        await cell.client.delete(cell.keys.rq_queue())
    await worker(cell)
    assert await cell.scripts.reconcile() == (0, 0)
    cell.scripts.now_ms += 10_000
    await worker(cell)
    assert await cell.scripts.reconcile() == (0, 1)


async def test_a_long_cold_queue_is_not_made_longer(cell: Cell) -> None:
    """With more than two orders for each live worker, who waits for a load comes first."""
    await worker(cell)
    await cell.scripts.order_copy(OTHER_REF, 1)
    await cell.scripts.order_copy(REF, 1)
    await cell.client.delete(cell.keys.load(REF))
    await cell.client.rpush(cell.keys.rq_queue(), "load-1")
    assert await cell.scripts.reconcile() == (0, 0)
    await cell.client.lpop(cell.keys.rq_queue())
    assert await cell.scripts.reconcile() == (0, 1)


async def test_the_order_of_a_request_that_waits_is_not_doubled(cell: Cell) -> None:
    """There is one load at a time, whoever wanted it first."""
    await worker(cell)
    await cell.scripts.order_copy(REF, 1)
    await cell.place(kept())
    assert await cell.scripts.reconcile() == (0, 0)
    assert await cell.scripts.sweep() == (0, 0, 0)
    assert len(await cell.orders()) == 1


async def test_the_stats_of_a_model_with_a_minimum_do_not_expire(cell: Cell) -> None:
    """A copy may serve for longer than what its load has taught is kept."""
    await worker(cell, holds=[REF])
    await loaded_once(cell, min_copies=1)
    await cell.client.sadd(cell.keys.min_copies, REF)
    await cell.scripts.reconcile()
    assert await cell.client.pttl(cell.keys.stats(REF)) > 86_400_000


async def test_one_call_does_a_bounded_number(cell: Cell) -> None:
    """The next goes on where it stopped."""
    cell.scripts.now_ms = NOW_MS
    await worker(cell, budget_bytes=10_000, lease_ms=10 * TTL_MS)
    for number in range(CHUNK + 2):
        models = [(f"m{number}:1:0123456789ab", 1)]
        await cell.scripts.open_session(f"s{number}", TTL_MS, 1000, models)
    cell.scripts.now_ms += TTL_MS
    assert await cell.scripts.reconcile() == (CHUNK, 0)
    assert await cell.scripts.reconcile() == (2, 0)
    await cell.scripts.reconcile()
    assert await cell.exists(cell.keys.min_copies, cell.keys.sessions) == []
