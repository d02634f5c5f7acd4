"""open_session, keep_session, close_session: models stay while somebody works with them."""

from __future__ import annotations

import pytest

from tests.helpers.cell import Cell
from tests.helpers.factories import OTHER_REF, REF, kept
from tests.lua.fleet import NOW_MS, lease, members, orders_by_name, warm_hint, worker

TTL_MS = 30_000
MOST = 10
THIRD_REF = "clip:1:111111111111"
EXPIRY = str(NOW_MS + TTL_MS)


@pytest.fixture(autouse=True)
def clock(cell: Cell) -> None:
    """Each test owns the clock."""
    cell.scripts.now_ms = NOW_MS


async def open_session(cell: Cell, *models: tuple[str, int], name: str = "s1", most: int = MOST):
    return await cell.scripts.open_session(name, TTL_MS, most, models)


async def untouched(cell: Cell, name: str, ref: str) -> bool:
    """Whether nothing was written for a session."""
    keys = cell.keys
    found = await cell.exists(keys.session(name), keys.pinned(ref), keys.load(ref))
    return found == [] and await cell.client.zscore(keys.sessions, name) is None


async def test_its_models_are_pinned_and_missing_ones_ordered(cell: Cell) -> None:
    """For the worker with the room; what is held, or on its way, is not ordered again."""
    await worker(cell, "w1", holds=[REF], budget_bytes=100)
    await cell.place(kept(ref=THIRD_REF))
    before = await cell.token(THIRD_REF)
    opened = await open_session(cell, (REF, 30), (OTHER_REF, 30), (THIRD_REF, 30))
    assert opened == ("open", (EXPIRY,))
    for ref in (REF, OTHER_REF, THIRD_REF):
        assert await members(cell, cell.keys.pinned(ref)) == {"s1"}
    assert await lease(cell) == {}
    order = await lease(cell, OTHER_REF)
    assert (order["extra"], order["for"]) == ("session", "w1")
    assert await cell.token(THIRD_REF) == before
    assert await orders_by_name(cell) == [f"load {OTHER_REF} {order['token']}"]
    assert await members(cell, cell.keys.min_copies) == {REF, OTHER_REF, THIRD_REF}


async def test_a_repeat_changes_nothing(cell: Cell) -> None:
    """Under one id there is one session, whatever the repeat asks for."""
    await worker(cell, budget_bytes=100)
    await open_session(cell, (REF, 30))
    cell.scripts.now_ms += 5
    assert await open_session(cell, (OTHER_REF, 99)) == ("exists", (EXPIRY,))
    assert await cell.exists(cell.keys.pinned(OTHER_REF)) == []
    assert len(await cell.orders()) == 1


async def test_what_cannot_fit_is_refused_and_says_what(cell: Cell) -> None:
    """The model, its bytes and the most room there is; nothing is written."""
    await worker(cell, "w1", budget_bytes=100)
    await worker(cell, "w2", budget_bytes=80)
    assert await open_session(cell, (REF, 101)) == ("full", (REF, "101", "100"))
    assert await open_session(cell, (REF, 90), (OTHER_REF, 81)) == ("full", (OTHER_REF, "81", "80"))
    assert await untouched(cell, "s1", REF) and await untouched(cell, "s1", OTHER_REF)
    assert await open_session(cell, (REF, 90), (OTHER_REF, 80)) == ("open", (EXPIRY,))


async def test_models_lie_side_by_side_largest_first(cell: Cell) -> None:
    """Whatever order they are named in."""
    await worker(cell, "w1", budget_bytes=100)
    await worker(cell, "w2", budget_bytes=60)
    models = ((REF, 40), (OTHER_REF, 60), (THIRD_REF, 60))
    assert (await open_session(cell, *models)).status == "open"
    await cell.scripts.close_session("s1")
    assert (await open_session(cell, *models[:2], (THIRD_REF, 61))).status == "full"


@pytest.mark.parametrize("health", ["suspect", "sick"])
async def test_an_unhealthy_worker_gives_no_room_beside_a_healthy_one(
    cell: Cell, health: str
) -> None:
    """Though it has more; where there is no healthy one, it does."""
    await worker(cell, "ill", budget_bytes=100)
    epoch = await worker(cell, "well", budget_bytes=50)
    await cell.client.hset(cell.keys.unhealthy, "ill", health)
    assert await open_session(cell, (REF, 60)) == ("full", (REF, "60", "50"))
    assert (await open_session(cell, (REF, 40))).status == "open"
    assert (await lease(cell))["for"] == "well"
    await cell.scripts.leave("well", epoch, 3)
    assert (await open_session(cell, (OTHER_REF, 60), name="s2")).status == "open"


async def test_what_a_sick_worker_holds_is_loaded_on_a_healthy_one_for_a_session(
    cell: Cell,
) -> None:
    """The sick one leaves."""
    await worker(cell, "ill", budget_bytes=100, holds=[REF])
    await worker(cell, "well", budget_bytes=50)
    await cell.client.hset(cell.keys.unhealthy, "ill", "sick")
    assert await open_session(cell, (REF, 60)) == ("full", (REF, "60", "50"))
    assert (await open_session(cell, (REF, 40))).status == "open"
    assert (await lease(cell))["for"] == "well"


async def test_without_a_ready_worker_nothing_fits(cell: Cell) -> None:
    """None, a dead one, one that drains, one that has not said what it can hold."""
    assert await open_session(cell, (REF, 1)) == ("full", (REF, "1", "0"))
    await worker(cell, "w1", budget_bytes=100, lease_ms=1)
    await worker(cell, "w2", budget_bytes=100, state="draining")
    await worker(cell, "w3")
    await worker(cell, "w4", budget_bytes="much")
    cell.scripts.now_ms += 1
    assert await open_session(cell, (REF, 1)) == ("full", (REF, "1", "0"))


async def test_sessions_share_models_and_memory(cell: Cell) -> None:
    """A model of two sessions takes its room once, and stays until both are over."""
    await worker(cell, budget_bytes=100)
    assert (await open_session(cell, (REF, 60))).status == "open"
    shared = await open_session(cell, (REF, 60), (OTHER_REF, 40), name="s2")
    assert shared.status == "open"
    assert (await open_session(cell, (THIRD_REF, 1), name="s3")).status == "full"
    assert await cell.scripts.close_session("s1")
    assert await members(cell, cell.keys.pinned(REF)) == {"s2"}
    assert await cell.scripts.close_session("s2")
    assert (await open_session(cell, (THIRD_REF, 100), name="s3")).status == "open"


async def test_permanently_pinned_models_take_their_memory(cell: Cell) -> None:
    """On the worker that holds it; not twice, where the session wants it too."""
    epoch = await worker(cell, budget_bytes=100)
    await cell.scripts.announce("w1", epoch, REF, "", "device 30")
    await cell.scripts.announce("w1", epoch, THIRD_REF, "", "device 30")
    await cell.scripts.set_policy(REF, {"pin": "1"})
    assert await open_session(cell, (OTHER_REF, 71)) == ("full", (OTHER_REF, "71", "70"))
    assert (await open_session(cell, (REF, 30), (OTHER_REF, 70))).status == "open"


async def test_a_model_is_counted_where_it_is_held(cell: Cell) -> None:
    """Though another worker has more room."""
    await worker(cell, "w1", holds=[REF], budget_bytes=50)
    await worker(cell, "w2", budget_bytes=100)
    assert (await open_session(cell, (REF, 50), (OTHER_REF, 100))).status == "open"
    assert (await lease(cell, OTHER_REF))["for"] == "w2"


@pytest.mark.parametrize("is_loading", [False, True])
async def test_a_model_keeps_its_room_where_it_is_held_or_on_its_way(
    cell: Cell, is_loading: bool
) -> None:
    """Though a larger one comes first, and that worker has the most room."""
    epoch = await worker(cell, "w1", holds=[] if is_loading else [REF], budget_bytes=100)
    await worker(cell, "w2", budget_bytes=90)
    if is_loading:
        await cell.place(kept())
        await cell.claim("w1", epoch)
    assert (await open_session(cell, (REF, 40), (OTHER_REF, 90))).status == "open"
    assert (await lease(cell, OTHER_REF))["for"] == "w2"


async def test_a_worker_takes_no_more_models_than_it_may_have(cell: Cell) -> None:
    """However small they are."""
    await worker(cell, budget_bytes=100, max_models=2)
    models = ((REF, 10), (OTHER_REF, 10), (THIRD_REF, 10))
    assert await open_session(cell, *models) == ("full", (REF, "10", "0"))
    assert (await open_session(cell, *models[:2])).status == "open"


async def test_a_permanently_pinned_model_is_one_of_those_that_a_worker_may_have(
    cell: Cell,
) -> None:
    """There is no place left, whatever memory there is."""
    await worker(cell, holds=[REF], budget_bytes=100, max_models=1)
    await cell.scripts.set_policy(REF, {"pin": "1"})
    assert await open_session(cell, (OTHER_REF, 10)) == ("full", (OTHER_REF, "10", "0"))


async def test_there_is_a_most_of_sessions(cell: Cell) -> None:
    """One more is told how many there are."""
    await worker(cell, budget_bytes=100)
    for number in range(2):
        await open_session(cell, (REF, 1), name=f"s{number}", most=2)
    assert await open_session(cell, (REF, 1), name="s2", most=2) == ("too_many", ("2",))
    assert await untouched(cell, "s2", OTHER_REF)


async def test_a_model_that_is_named_twice_is_one(cell: Cell) -> None:
    """And a session of none holds nothing."""
    await worker(cell, budget_bytes=100)
    assert (await open_session(cell, (REF, 60), (REF, 60))).status == "open"
    assert await members(cell, cell.keys.pinned(REF)) == {"s1"}
    assert len(await cell.orders()) == 1
    assert (await open_session(cell, name="s2")).status == "open"
    assert await cell.scripts.close_session("s1") and await cell.scripts.close_session("s2")
    assert await cell.exists(cell.keys.sessions, cell.keys.pinned(REF)) == []


async def test_what_cannot_be_loaded_now_is_pinned_and_not_ordered(cell: Cell) -> None:
    """The sweep orders it when the reason has passed."""
    await worker(cell, budget_bytes=100)
    await cell.client.set(cell.keys.unloadable(REF), "~store_unavailable away", px=5000)
    assert (await open_session(cell, (REF, 60))).status == "open"
    assert await cell.scripts.reconcile() == (0, 0)
    await cell.client.delete(cell.keys.unloadable(REF))
    assert await cell.scripts.reconcile() == (0, 1)


async def test_a_warm_worker_without_capacity_is_not_chosen(cell: Cell) -> None:
    """Room comes first: the model is to stay there."""
    await worker(cell, "w1", budget_bytes=10)
    await worker(cell, "w2", budget_bytes=100)
    await warm_hint(cell, "w1", "disk")
    await open_session(cell, (REF, 50))
    assert (await lease(cell))["for"] == "w2"


async def test_names_of_ten_thousand_characters_are_taken_whole(cell: Cell) -> None:
    """Of the session, and of its models."""
    await worker(cell, budget_bytes=100)
    ref, name = f"{'m' * 10_000}:1:0123456789ab", "s" * 10_000
    assert (await open_session(cell, (ref, 60), name=name)).status == "open"
    assert await open_session(cell, (REF, 41), name="s2") == ("full", (REF, "41", "40"))
    assert await cell.scripts.close_session(name)
    assert await cell.exists(cell.keys.pinned(ref)) == []
