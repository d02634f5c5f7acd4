"""reload: a restarted worker claims the loads of what it held before."""

from __future__ import annotations

import pytest

from shared import causes
from tests.helpers.cell import LEASE_MS, MAX_ATTEMPTS, Cell
from tests.helpers.factories import OTHER_REF, REF, kept


async def reload(cell: Cell, epoch: str, worker: str = "w1") -> str:
    return await cell.scripts.reload(worker, epoch, REF, LEASE_MS)


async def test_the_token_is_a_load_lease_like_any_other(cell: Cell) -> None:
    """Who asks for the model meanwhile parks and orders nothing; announcing takes them."""
    epoch = await cell.worker("w1")
    token = await reload(cell, epoch)
    assert token == await cell.token() != ""
    assert await cell.client.pttl(cell.keys.load(REF)) > 0
    await cell.place(kept())
    assert await cell.orders() == []
    assert await cell.scripts.announce("w1", epoch, REF, token, "device 1") == 0
    assert len(await cell.read("w1")) == 1
    assert await cell.exists(cell.keys.load(REF), cell.keys.loads("w1")) == []


async def test_at_most_one_load_of_a_model_is_in_flight(cell: Cell) -> None:
    """Neither beside a restarted neighbour's, nor beside an order."""
    first, second = await cell.worker("w1"), await cell.worker("w2")
    assert await reload(cell, first)
    assert await reload(cell, second, "w2") == ""
    await cell.scripts.fail_load("w1", REF, await cell.token(), b"corrupt x", 1)
    await cell.client.delete(cell.keys.unloadable(REF))
    await cell.place(kept())
    assert await reload(cell, second, "w2") == ""


async def test_what_is_held_failed_or_killed_is_not_loaded_again(cell: Cell) -> None:
    """And an older epoch loads nothing."""
    old = await cell.worker("w1", holds=[REF])
    assert await reload(cell, old) == ""
    epoch = await cell.worker("w1")
    assert await reload(cell, old) == ""
    await cell.client.set(cell.keys.unloadable(REF), "corrupt", px=1000)
    assert await reload(cell, epoch) == ""
    await cell.client.delete(cell.keys.unloadable(REF))
    for _ in range(2):
        assert await reload(cell, epoch)
        await cell.scripts.fence_worker("w1", epoch, 0, "was killed", MAX_ATTEMPTS)
        epoch = await cell.worker("w1")
    assert await reload(cell, epoch) == ""


async def test_beside_another_holder_it_becomes_a_second_copy(cell: Cell) -> None:
    """The worker was one of those that served it."""
    await cell.worker("w2", holds=[REF])
    epoch = await cell.worker("w1")
    token = await reload(cell, epoch)
    await cell.scripts.announce("w1", epoch, REF, token, "device 1")
    assert set(await cell.client.hkeys(cell.keys.holders(REF))) == {b"w1", b"w2"}


async def test_an_unhealthy_worker_reloads_nothing_that_a_healthier_one_can_load(
    cell: Cell,
) -> None:
    """If all are unhealthy alike, it does."""
    epoch, well = await cell.worker("w1"), await cell.worker("w2")
    await cell.client.hset(cell.keys.unhealthy, "w1", "suspect")
    assert await reload(cell, epoch) == ""
    await cell.scripts.leave("w2", well, MAX_ATTEMPTS)
    assert await reload(cell, epoch) != ""


async def test_what_nobody_waits_for_is_offered_to_no_other_worker(cell: Cell) -> None:
    """The order would lie in the cold queue until a worker finds that it is not wanted."""
    epoch = await cell.worker("w1")
    await cell.worker("w2")
    token = await reload(cell, epoch)
    assert await cell.scripts.refuse_load("w1", REF, token) == "no_capacity"
    assert await is_over(cell)
    await cell.place(kept())
    token = await cell.claim("w1", epoch)
    assert await cell.scripts.refuse_load("w1", REF, token) == "ordered"


@pytest.mark.parametrize("scope", [causes.WORKER, causes.CLASS])
async def test_what_fails_and_nobody_waits_for_is_asked_of_no_other_worker(
    cell: Cell, scope: str
) -> None:
    """Whether its process had held it before, or who waited has left meanwhile."""
    epoch = await cell.worker("w1")
    await cell.worker("w2")
    token = await reload(cell, epoch)
    assert await cell.scripts.fail_load("w1", REF, token, b"corrupt x", 1000, scope=scope) == 0
    assert await is_over(cell)
    await cell.client.delete(cell.keys.failed_on(REF))
    await cell.place(waits := kept())
    token = await cell.claim("w1", epoch)
    await cell.cancel(waits.id)
    assert await cell.scripts.fail_load("w1", REF, token, b"corrupt x", 1000, scope=scope) == 0
    assert await is_over(cell)


async def test_what_nobody_waits_for_any_more_is_not_handed_on(cell: Cell) -> None:
    """Its load ends instead: the order would wait for ever."""
    await cell.worker("w2", holds=[OTHER_REF])
    epoch = await cell.worker("w1")
    await cell.client.sadd(cell.keys.affinity("team"), OTHER_REF)
    await cell.place(waits := kept())
    token = await cell.claim("w1", epoch)
    await cell.cancel(waits.id)
    assert await cell.scripts.route_by_affinity("w1", REF, token, "team", "prefer") == "elsewhere"
    assert await is_over(cell)


async def is_over(cell: Cell) -> bool:
    """Whether no load is under way, and no order waits."""
    return await cell.orders() == [] and await cell.exists(cell.keys.load(REF)) == []
