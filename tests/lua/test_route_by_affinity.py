"""route_by_affinity.lua: a claimed load goes to the worker that has the most of its kin."""

from __future__ import annotations

import pytest

from tests.helpers.cell import Cell
from tests.helpers.factories import OTHER_REF, REF, kept, placing
from tests.lua.fleet import NOW_MS, claim, lease, members, orders_by_name, worker

KEY = "team"
THIRD_REF = "clip:1:111111111111"


async def ask(cell: Cell, name: str, mode: str = "prefer", ref: str = REF) -> str:
    """Of the load that this worker has claimed."""
    return await cell.scripts.route_by_affinity(name, ref, await cell.token(ref), KEY, mode)


async def kin(cell: Cell, *refs: str) -> None:
    """Models that were loaded under this key before."""
    await cell.client.sadd(cell.keys.affinity(KEY), *refs)
    await cell.client.expire(cell.keys.affinity(KEY), 600)


async def claimed(cell: Cell, name: str, ref: str = REF, **fields: str) -> str:
    """A worker that has claimed the load of a model somebody waits for; its epoch."""
    epoch = await worker(cell, name, **fields)
    await cell.place(kept(ref=ref))
    await cell.claim(name, epoch, ref)
    return epoch


@pytest.mark.parametrize("mode", ["prefer", "require"])
async def test_without_a_known_group_it_is_loaded_here(cell: Cell, mode: str) -> None:
    """And is known from then on, for a while."""
    await claimed(cell, "w1")
    before = await lease(cell)
    assert await ask(cell, "w1", mode) == "here"
    assert await lease(cell) == before
    assert await members(cell, cell.keys.affinity(KEY)) == {REF}
    assert await cell.client.pttl(cell.keys.affinity(KEY)) > 86_400_000


@pytest.mark.parametrize(
    ("mode", "health", "answer"),
    [
        ("prefer", "suspect", "here"), ("prefer", "sick", "here"),
        ("require", "suspect", "elsewhere"), ("require", "sick", "here"),
    ],
)  # fmt: skip
async def test_nothing_is_handed_on_to_a_sick_worker(
    cell: Cell, mode: str, health: str, answer: str
) -> None:
    """It leaves, and would refuse the order; a suspect one gets only what must be there."""
    await worker(cell, "w2", holds=[OTHER_REF])
    await kin(cell, OTHER_REF)
    await claimed(cell, "w1")
    await cell.client.hset(cell.keys.unhealthy, "w2", health)
    assert await ask(cell, "w1", mode) == answer


@pytest.mark.parametrize("mode", ["prefer", "require"])
async def test_it_is_handed_on_to_the_worker_with_the_affinity_group(cell: Cell, mode: str) -> None:
    """A new order, for that worker by name; this one's claim is over."""
    await worker(cell, "w2", holds=[OTHER_REF])
    await kin(cell, OTHER_REF)
    await claimed(cell, "w1")
    old = await cell.token()
    assert await ask(cell, "w1", mode) == "elsewhere"
    new = await lease(cell)
    assert (new["for"], new["worker"], new["phase"]) == ("w2", "", "ordered")
    assert new["token"] != old
    assert await orders_by_name(cell, "w2") == [f"load {REF} {new['token']}"]
    assert await cell.exists(cell.keys.loads("w1")) == []
    assert not await cell.scripts.renew_load("w1", REF, old, 1000)


async def test_it_is_not_handed_on_to_a_worker_that_has_just_failed(cell: Cell) -> None:
    """Although that one has the affinity group."""
    epoch = await worker(cell, "w2", holds=[OTHER_REF])
    await kin(cell, OTHER_REF)
    await cell.place(kept())
    token = await cell.claim("w2", epoch, REF)
    other = await worker(cell, "w1")
    await cell.scripts.fail_load("w2", REF, token, b"disk_full no space", 60_000)
    await cell.claim("w1", other, REF)
    await cell.client.hset(cell.keys.load(REF), "refused", "")
    assert await ask(cell, "w1") == "here"


async def test_the_worker_with_the_most_is_chosen_and_of_equals_the_first(cell: Cell) -> None:
    """A model that is being loaded counts like one that is held."""
    third = await worker(cell, "w3", holds=[OTHER_REF])
    await worker(cell, "w2", holds=[OTHER_REF])
    await kin(cell, OTHER_REF, THIRD_REF)
    await claimed(cell, "w1")
    assert await ask(cell, "w1") == "elsewhere"
    assert (await lease(cell))["for"] == "w2"
    await cell.client.delete(cell.keys.load(REF))
    await cell.place(kept(ref=THIRD_REF))
    await cell.claim("w3", third, THIRD_REF)
    await kin(cell, THIRD_REF)
    await claimed(cell, "w1")
    assert await ask(cell, "w1") == "elsewhere"
    assert (await lease(cell))["for"] == "w3"


async def test_a_model_without_copies_leaves_the_affinity_group(cell: Cell) -> None:
    """Or old versions would fill the set; who is held, or being loaded, stays."""
    await worker(cell, "w2", holds=[OTHER_REF])
    await kin(cell, OTHER_REF, THIRD_REF)
    await claimed(cell, "w1")
    await ask(cell, "w1")
    assert await members(cell, cell.keys.affinity(KEY)) == {REF, OTHER_REF}


async def test_with_prefer_it_is_handed_on_once(cell: Cell) -> None:
    """If that worker is busy, whoever takes it next keeps it."""
    cell.scripts.now_ms = NOW_MS
    await worker(cell, "w2", holds=[OTHER_REF])
    await kin(cell, OTHER_REF)
    epoch = await claimed(cell, "w1")
    assert await ask(cell, "w1") == "elsewhere"
    assert await claim(cell, "w1", epoch) == "later"
    cell.scripts.now_ms += 250
    assert await claim(cell, "w1", epoch) == "claimed"
    assert await ask(cell, "w1") == "here"


async def test_with_require_it_is_handed_on_until_it_is_there(cell: Cell) -> None:
    """Nobody else keeps it; it keeps what it was ordered for."""
    cell.scripts.now_ms = NOW_MS
    second = await worker(cell, "w2", holds=[OTHER_REF])
    await kin(cell, OTHER_REF)
    epoch = await worker(cell, "w1")
    await cell.scripts.order_copy(REF)
    await cell.claim("w1", epoch)
    for _ in range(3):
        assert await ask(cell, "w1", "require") == "elsewhere"
        cell.scripts.now_ms += 250
        assert await claim(cell, "w1", epoch) == "claimed"
    assert await ask(cell, "w1", "require") == "elsewhere"
    assert (await lease(cell))["extra"] == "requested"
    assert await claim(cell, "w2", second) == "claimed"
    assert await ask(cell, "w2", "require") == "here"


@pytest.mark.parametrize(("mode", "answer"), [("prefer", "here"), ("require", "nowhere")])
async def test_when_the_worker_with_the_affinity_group_cannot_take_it(
    cell: Cell, mode: str, answer: str
) -> None:
    """It refused: another may have it, unless it must be there."""
    second = await worker(cell, "w2", holds=[OTHER_REF])
    await kin(cell, OTHER_REF)
    epoch = await worker(cell, "w1")
    await cell.place(kept())
    await cell.scripts.refuse_load("w2", REF, await cell.claim("w2", second))
    await cell.claim("w1", epoch)
    before = await lease(cell)
    assert await ask(cell, "w1", mode) == answer
    assert await lease(cell) == before


async def test_a_dead_worker_has_no_kin(cell: Cell) -> None:
    """Neither what it held nor what it was loading."""
    cell.scripts.now_ms = NOW_MS
    epoch = await worker(cell, "w2", holds=[OTHER_REF], lease_ms=1)
    await cell.place(kept(ref=THIRD_REF))
    await cell.claim("w2", epoch, THIRD_REF)
    await kin(cell, OTHER_REF, THIRD_REF)
    cell.scripts.now_ms += 1
    await claimed(cell, "w1")
    assert await ask(cell, "w1", "require") == "here"


async def test_a_draining_worker_attracts_no_load(cell: Cell) -> None:
    """It would hand the order back."""
    await worker(cell, "w2", holds=[OTHER_REF], state="draining")
    await kin(cell, OTHER_REF)
    await claimed(cell, "w1")
    assert await ask(cell, "w1", "require") == "here"


async def test_a_copy_of_its_own_is_no_kin(cell: Cell) -> None:
    """A second copy is not drawn to the first."""
    await worker(cell, "w2", holds=[REF])
    await kin(cell, REF)
    epoch = await worker(cell, "w1")
    await cell.scripts.order_copy(REF, 2)
    await cell.scripts.reconcile()
    await cell.claim("w1", epoch)
    assert await ask(cell, "w1", "require") == "here"


async def test_only_the_worker_that_claimed_the_load_may_ask(cell: Cell) -> None:
    """Not by another token, not another worker, not after it was handed on: nothing is changed."""
    await worker(cell, "w2", holds=[OTHER_REF])
    await claimed(cell, "w1")
    token = await cell.token()
    assert await cell.scripts.route_by_affinity("w1", REF, "0" * 24, KEY, "prefer") == "stale"
    assert await cell.scripts.route_by_affinity("w2", REF, token, KEY, "prefer") == "stale"
    assert await cell.scripts.route_by_affinity("w1", OTHER_REF, token, KEY, "prefer") == "stale"
    assert await cell.exists(cell.keys.affinity(KEY)) == []
    await kin(cell, OTHER_REF)
    assert await ask(cell, "w1") == "elsewhere"
    assert await cell.scripts.route_by_affinity("w1", REF, token, KEY, "prefer") == "stale"


async def test_two_keys_are_two_families(cell: Cell) -> None:
    """Also where one is the beginning of the other, or ten thousand characters long."""
    await worker(cell, "w2", holds=[OTHER_REF])
    await kin(cell, OTHER_REF)
    await claimed(cell, "w1")
    for key in (KEY + "s", KEY[:-1], "k" * 10_000):
        assert (
            await cell.scripts.route_by_affinity("w1", REF, await cell.token(), key, "require")
            == "here"
        )


async def test_of_a_large_family_a_bounded_number_is_looked_at(cell: Cell) -> None:
    """It is asked while Redis waits."""
    many = [f"m{number:04}:1:0123456789ab" for number in range(600)]
    await worker(cell, "w2", holds=[many[0], many[-1]])
    await worker(cell, "w3", holds=many[-3:-1])
    await kin(cell, *many)
    await claimed(cell, "w1")
    assert await ask(cell, "w1") == "elsewhere"
    assert (await lease(cell))["for"] == "w2"


async def test_requests_that_wait_are_placed_where_it_went(cell: Cell) -> None:
    """Nothing that is parked is lost on the way."""
    second = await worker(cell, "w2", holds=[OTHER_REF])
    await kin(cell, OTHER_REF)
    await claimed(cell, "w1")
    await cell.place(placing())
    await ask(cell, "w1")
    token = await cell.claim("w2", second)
    assert await cell.scripts.announce("w2", second, REF, token, "device 1") == 0
    assert await cell.client.xlen(cell.keys.work("w2")) == 2
