"""Placement passes over workers that are suspect or sick, if another one can do it (I37)."""

from __future__ import annotations

import json

import pytest

from tests.helpers.cell import LEASE_MS, MAX_ATTEMPTS, Cell
from tests.helpers.factories import OTHER_REF, REF, kept, placing
from tests.lua.fleet import NOW_MS, claim, lease, loaded_once, warm_hint, worker


async def reports(
    cell: Cell, name: str, health: str, *failing: str, holds: tuple[str, ...] = (REF,)
) -> str:
    """A worker that reports this of itself; its epoch."""
    epoch = await worker(cell, name, holds=holds)
    await beat(cell, name, epoch, health, *failing, held=len(holds))
    return epoch


async def beat(cell: Cell, name: str, epoch: str, health: str, *failing: str, held: int = 1) -> str:
    fields = {"health": health, "failing": json.dumps(failing)}
    return (await cell.scripts.heartbeat(name, epoch, "one", LEASE_MS, held, fields)).answer


async def placed_on(cell: Cell, number: int = 4, ref: str = REF) -> set[str]:
    return {
        p.detail or p.status for p in await cell.place(*[placing(ref=ref) for _ in range(number)])
    }


async def test_only_the_unhealthy_are_listed(cell: Cell) -> None:
    """So that the warm path pays one read; what a newer release says is no illness."""
    epochs = {
        "w1": await reports(cell, "w1", "suspect"),
        "w2": await reports(cell, "w2", "healthy", REF, OTHER_REF),
        "w3": await reports(cell, "w3", "healthy"),
        "w4": await reports(cell, "w4", "feverish"),
    }
    assert await cell.client.hgetall(cell.keys.unhealthy) == {
        b"w1": b"suspect", b"w2": f"healthy {REF} {OTHER_REF}".encode()
    }  # fmt: skip
    for name in ("w1", "w2"):
        await beat(cell, name, epochs[name], "healthy")
    assert await cell.exists(cell.keys.unhealthy) == []


@pytest.mark.parametrize("failing", ["", "null", "{", '{"a": 1}', "[1, {}]", "[[]]"])
async def test_a_report_that_cannot_be_read_is_no_illness(cell: Cell, failing: str) -> None:
    """Nor does it stop a heartbeat."""
    epoch = await worker(cell, "w1")
    fields = {"health": "healthy", "failing": failing}
    assert (await cell.scripts.heartbeat("w1", epoch, "one", LEASE_MS, 0, fields)).answer == "ok"
    assert await cell.exists(cell.keys.unhealthy) == []


async def test_of_many_failing_models_some_are_listed(cell: Cell) -> None:
    """The list is bounded."""
    await reports(cell, "w1", "healthy", *[f"m{n}:1:0123456789ab" for n in range(100)])
    listed = await cell.client.hget(cell.keys.unhealthy, "w1")
    assert len(listed.split()) == 1 + 32


async def test_what_is_known_of_a_worker_goes_with_it(cell: Cell) -> None:
    """When it leaves, is reaped, or begins anew."""
    epoch = await reports(cell, "w1", "sick")
    await cell.scripts.leave("w1", epoch, MAX_ATTEMPTS)
    assert await cell.exists(cell.keys.unhealthy) == []
    await reports(cell, "w1", "sick")
    await worker(cell, "w1")
    assert await cell.exists(cell.keys.unhealthy) == []


@pytest.mark.parametrize("health", ["suspect", "sick"])
async def test_a_healthy_holder_gets_the_requests(cell: Cell, health: str) -> None:
    """However much it has to do."""
    await reports(cell, "w1", health)
    await reports(cell, "w2", "healthy")
    assert await placed_on(cell, 20) == {"w2"}


async def test_a_suspect_holder_comes_before_a_sick_one(cell: Cell) -> None:
    """Better than nothing; and of two that are alike the less loaded."""
    await reports(cell, "w1", "sick")
    await reports(cell, "w2", "suspect")
    await reports(cell, "w3", "suspect")
    assert await placed_on(cell, 4) == {"w2", "w3"}


async def test_a_holder_on_which_this_model_fails_is_passed_over_for_it_alone(cell: Cell) -> None:
    """It serves the others."""
    both = (REF, OTHER_REF)
    await reports(cell, "w1", "healthy", REF, holds=both)
    await reports(cell, "w2", "healthy", holds=both)
    assert await placed_on(cell, 4) == {"w2"}
    assert await placed_on(cell, 1, OTHER_REF) == {"w1"}


async def test_requests_wait_for_a_healthy_copy_if_all_holders_are_sick(cell: Cell) -> None:
    """It is ordered for a worker that is healthy, with the reason."""
    await reports(cell, "w1", "sick")
    epoch = await reports(cell, "w2", "healthy", holds=())
    assert await placed_on(cell) == {"parked"}
    known = await lease(cell)
    assert (known["extra"], known["refused"]) == ("unhealthy", "")
    assert await claim(cell, "w1", (await cell.epoch("w1")).decode()) == "refused"
    token = await cell.claim("w2", epoch)
    assert await cell.scripts.announce("w2", epoch, REF, token, "device 1") == 0
    assert len(await cell.read("w2")) == 4


async def test_a_sick_holder_serves_if_nobody_else_can(cell: Cell) -> None:
    """Nobody is there; or nobody is healthy; or it cannot be loaded just now."""
    await reports(cell, "w1", "sick")
    assert await placed_on(cell) == {"w1"}
    await reports(cell, "w2", "suspect", holds=())
    assert await placed_on(cell) == {"w1"}
    await reports(cell, "w3", "healthy", holds=())
    await cell.client.delete(cell.keys.no_capacity(REF))
    await cell.client.set(cell.keys.unloadable(REF), "corrupt x", px=5000)
    assert await placed_on(cell) == {"w1"}
    await cell.client.delete(cell.keys.unloadable(REF))
    assert await placed_on(cell) == {"parked"}


async def test_requests_go_back_to_a_sick_holder_if_the_other_load_fails(cell: Cell) -> None:
    """They do not fail with it."""
    await reports(cell, "w1", "sick")
    epoch = await reports(cell, "w2", "healthy", holds=())
    await cell.place(kept())
    token = await cell.claim("w2", epoch)
    assert await cell.scripts.fail_load("w2", REF, token, b"corrupt x", 5000, scope="model") == 0
    assert await cell.scripts.sweep() == (0, 0, 1)
    assert len(await cell.read("w1")) == 1


@pytest.mark.parametrize(("health", "failing"), [("suspect", ()), ("healthy", (REF,))])
async def test_a_sole_suspect_holder_serves_on_until_there_is_a_healthy_copy(
    cell: Cell, health: str, failing: tuple[str, ...]
) -> None:
    """One further copy is ordered meanwhile."""
    await reports(cell, "w1", health, *failing)
    epoch = await reports(cell, "w2", "healthy", holds=())
    assert await placed_on(cell) == {"w1"}
    await cell.scripts.announce("w2", epoch, REF, await cell.claim("w2", epoch), "device 1")
    assert await placed_on(cell) == {"w2"}


async def test_where_two_holders_agree_it_is_the_model(cell: Cell) -> None:
    """It is not loaded on one worker after the other."""
    await reports(cell, "w1", "healthy", REF)
    await reports(cell, "w2", "healthy", REF)
    await reports(cell, "w3", "healthy", holds=())
    assert await placed_on(cell) == {"w1", "w2"}
    assert await lease(cell) == {}


async def test_a_load_goes_to_a_healthy_worker(cell: Cell) -> None:
    """Though a suspect one could have it sooner; who is not healthy is refused the claim."""
    suspect = await reports(cell, "w1", "suspect", holds=())
    sick = await reports(cell, "w2", "sick", holds=())
    healthy = await reports(cell, "w3", "healthy", holds=())
    await warm_hint(cell, "w1", "disk")
    await cell.place(placing())
    assert (await lease(cell))["for"] == ""
    assert await claim(cell, "w2", sick) == "refused"
    assert await claim(cell, "w1", suspect) == "refused"
    assert await claim(cell, "w3", healthy) == "claimed"


async def test_a_suspect_worker_may_try_one_load_in_a_while(cell: Cell) -> None:
    """It could not show otherwise that it is well again; a sick one may not."""
    cell.scripts.now_ms = NOW_MS
    suspect = await reports(cell, "w1", "suspect", holds=())
    sick = await reports(cell, "w2", "sick", holds=())
    await worker(cell, "w3", lease_ms=600_000)
    await cell.client.zadd(cell.keys.workers, {"w1": NOW_MS * 9, "w2": NOW_MS * 9})
    await cell.place(placing(timeout_ms=600_000), placing(ref=OTHER_REF, timeout_ms=600_000))
    cell.scripts.now_ms = NOW_MS + 29_999
    assert await claim(cell, "w1", suspect) == "refused"
    cell.scripts.now_ms = NOW_MS + 30_000
    assert await claim(cell, "w2", sick) == "refused"
    assert await claim(cell, "w1", suspect) == "claimed"
    assert await claim(cell, "w1", suspect, OTHER_REF) == "refused"


async def test_a_suspect_worker_loads_if_no_healthy_one_is_there(cell: Cell) -> None:
    """Before a sick one, which loads only if it is alone."""
    sick = await reports(cell, "w2", "sick", holds=())
    await cell.place(placing())
    suspect = await reports(cell, "w1", "suspect", holds=())
    assert await claim(cell, "w2", sick) == "refused"
    await cell.scripts.leave("w1", suspect, MAX_ATTEMPTS)
    assert await claim(cell, "w2", sick) == "claimed"


async def test_no_further_copy_is_ordered_for_a_busy_model_on_a_suspect_worker(cell: Cell) -> None:
    """Its free time is no reason to load there."""
    await worker(cell, "w1", holds=[REF], busy_share=1, service_ms=2000)
    await reports(cell, "w2", "suspect", holds=())
    await loaded_once(cell, remote=10)
    await cell.place(*[placing() for _ in range(12)])
    assert await lease(cell) == {}


async def test_an_unhealthy_holder_is_not_asked_for_a_further_copy(cell: Cell) -> None:
    """Its device may have time; but it has the model."""
    await worker(cell, "w1", holds=[REF], busy_share=1, service_ms=2000)
    await reports(cell, "w2", "suspect")
    await worker(cell, "w3")
    await loaded_once(cell, remote=10)
    await cell.place(*[placing() for _ in range(5)])
    assert (await lease(cell))["extra"] == "scale_out"
    assert await claim(cell, "w2", (await cell.epoch("w2")).decode()) == "refused"


async def test_a_sick_workers_copy_counts_as_none(cell: Cell) -> None:
    """The minimum number of copies is kept beside it, and another copy is not evicted for it."""
    await reports(cell, "w1", "sick")
    healthy = await reports(cell, "w2", "healthy", holds=())
    await cell.scripts.order_copy(REF, 1)
    assert await cell.scripts.reconcile() == (0, 1)
    await cell.scripts.announce("w2", healthy, REF, await cell.claim("w2", healthy), "device 1")
    assert await cell.scripts.retire("w2", healthy, REF, "", "evict") == "needed"
