"""order_load: an order lies in the cold queue and, for who has the model near, in its list (I33).

That worker has a head start; then anybody may take the order.
"""

from __future__ import annotations

import pytest

from tests.helpers.cell import LEASE_MS, WIDE, Cell
from tests.helpers.factories import OTHER_REF, REF, placing
from tests.lua.fleet import NOW_MS, claim, lease, loaded_once, orders_by_name, warm_hint, worker

HEAD_START_MS = 250


@pytest.fixture(autouse=True)
def clock(cell: Cell) -> None:
    """Each test owns the clock."""
    cell.scripts.now_ms = NOW_MS


async def test_without_hints_any_worker_may_take_the_order(cell: Cell) -> None:
    """Nobody is preferred, nobody is told by name, nobody waits."""
    epoch = await worker(cell)
    await cell.place(placing())
    assert (await lease(cell))["for"] == ""
    assert await orders_by_name(cell) == []
    assert len(await cell.orders()) == 1
    assert await claim(cell, "w1", epoch) == "claimed"


async def test_without_any_worker_the_order_waits_in_the_queue(cell: Cell) -> None:
    """As for a fleet that is scaled to zero."""
    await warm_hint(cell, "gone", "disk")
    await cell.place(placing())
    assert (await lease(cell))["for"] == ""
    assert len(await cell.orders()) == 1
    assert await orders_by_name(cell, "gone") == []


async def test_the_warm_worker_gets_the_order_by_name_and_the_queue_too(cell: Cell) -> None:
    """With the same token, so that only one of the two is ever taken; its list has a lifetime."""
    await worker(cell)
    await warm_hint(cell, "w1", "disk")
    await cell.place(placing())
    token = await cell.token()
    assert await orders_by_name(cell) == [f"load {REF} {token}"]
    (order,) = await cell.orders()
    assert order.endswith(token)
    assert 0 < await cell.client.pttl(cell.keys.orders("w1")) <= 10_000


async def test_the_others_get_later_until_the_head_start_is_over(cell: Cell) -> None:
    """Nothing is changed by asking; after it the first to claim has the load."""
    await worker(cell, "w1")
    other = await worker(cell, "w2")
    await warm_hint(cell, "w1", "disk")
    await cell.place(placing())
    before = await lease(cell)
    cell.scripts.now_ms = NOW_MS + HEAD_START_MS - 1
    assert await claim(cell, "w2", other) == "later"
    assert await lease(cell) == before
    assert await cell.exists(cell.keys.loads("w2")) == []
    cell.scripts.now_ms = NOW_MS + HEAD_START_MS
    assert await claim(cell, "w2", other) == "claimed"


async def test_the_one_it_is_for_does_not_wait(cell: Cell) -> None:
    """And who claims late after it finds the token taken, not `later`."""
    first, other = await worker(cell, "w1"), await worker(cell, "w2")
    await warm_hint(cell, "w1", "disk")
    await cell.place(placing())
    assert await claim(cell, "w1", first) == "claimed"
    assert await claim(cell, "w2", other) == "stale"


async def test_when_the_one_it_is_for_dies_another_takes_it(cell: Cell) -> None:
    """The order in its hand was a copy of the one in the queue."""
    await worker(cell, "w1", lease_ms=100)
    other = await worker(cell, "w2")
    await warm_hint(cell, "w1", "disk")
    await cell.place(placing())
    cell.scripts.now_ms = NOW_MS + 101
    await cell.reap()
    assert await claim(cell, "w2", other) == "later"
    cell.scripts.now_ms = NOW_MS + HEAD_START_MS
    assert await claim(cell, "w2", other) == "claimed"


@pytest.mark.parametrize("trouble", ["dead", "draining", "unknown tier", "another epoch"])
async def test_a_hint_that_is_worth_nothing_is_passed_over(cell: Cell, trouble: str) -> None:
    """Host memory goes with its process; who drains takes no orders."""
    lease_ms = 1 if trouble == "dead" else LEASE_MS
    state = "draining" if trouble == "draining" else "ready"
    epoch = await worker(cell, "w1", lease_ms=lease_ms, state=state)
    if trouble == "another epoch":
        await warm_hint(cell, "w1", "host", "before")
    else:
        await warm_hint(cell, "w1", "tape" if trouble == "unknown tier" else "disk", epoch)
    cell.scripts.now_ms = NOW_MS + 1
    await cell.place(placing())
    assert (await lease(cell))["for"] == ""
    assert await orders_by_name(cell) == []


async def test_a_copy_on_disk_outlives_its_process_and_one_in_host_memory_does_not(
    cell: Cell,
) -> None:
    """After a restart of w1 the disk of w2 is nearer than nothing."""
    await worker(cell, "w1")
    before = await worker(cell, "w2")
    await warm_hint(cell, "w1", "disk", "before")
    await warm_hint(cell, "w2", "host", before)
    await cell.place(placing())
    assert (await lease(cell))["for"] == "w2"
    await worker(cell, "w2")
    await warm_hint(cell, "w2", "host", before, OTHER_REF)
    await warm_hint(cell, "w1", "disk", "before", OTHER_REF)
    await cell.place(placing(ref=OTHER_REF))
    assert (await lease(cell, OTHER_REF))["for"] == "w1"


async def test_a_queue_counts_against_the_warm_worker(cell: Cell) -> None:
    """Its requests, each as long as it says, and what its tier takes."""
    first = await worker(cell, "w1", holds=[OTHER_REF], service_ms=100)
    await worker(cell, "w2")
    await warm_hint(cell, "w1", "host", first)
    await warm_hint(cell, "w2", "disk")
    await loaded_once(cell, host=50, disk=300, remote=5000)
    await cell.place(placing())
    assert (await lease(cell))["for"] == "w1"
    await cell.client.delete(cell.keys.load(REF))
    await cell.place(*(placing(ref=OTHER_REF) for _ in range(3)), placing())
    assert (await lease(cell))["for"] == "w2"


async def test_a_warm_worker_slower_than_the_store_is_not_chosen(cell: Cell) -> None:
    """Anybody can have it from remote in that time."""
    await worker(cell, "w1", holds=[OTHER_REF], service_ms=1000)
    await worker(cell, "w2")
    await warm_hint(cell, "w1", "disk")
    await cell.place(*(placing(ref=OTHER_REF) for _ in range(2)))
    await loaded_once(cell, disk=100, remote=2000)
    await cell.place(placing())
    assert (await lease(cell))["for"] == ""


async def test_if_all_have_queues_the_warm_worker_is_chosen(cell: Cell) -> None:
    """The store is no sooner, behind as many requests."""
    for name in ("w1", "w2"):
        await worker(cell, name, holds=[OTHER_REF], service_ms=1000)
    await warm_hint(cell, "w2", "disk")
    await cell.place(*(placing(ref=OTHER_REF) for _ in range(4)), placing())
    assert (await lease(cell))["for"] == "w2"


async def test_a_claim_by_name_removes_the_order_from_the_queue(cell: Cell) -> None:
    """Nobody need find out that it is taken. What RQ has taken is RQ's to tidy."""
    epoch = await worker(cell)
    await warm_hint(cell, "w1", "disk")
    await cell.place(placing(), placing(ref=OTHER_REF))
    jobs = [cell.keys.rq_job(order) for order in await cell.orders()]
    await cell.claim("w1", epoch)
    assert await cell.exists(*jobs) == jobs[1:] and len(await cell.orders()) == 1
    await cell.client.lpop(cell.keys.rq_queue())
    await cell.client.hset(jobs[1], "status", "started")
    await cell.claim("w1", epoch, OTHER_REF)
    assert await cell.exists(*jobs) == jobs[1:]


async def test_a_worker_that_takes_no_orders_does_not_fill_redis(cell: Cell) -> None:
    """The newest thousand are kept; the cold queue has all of them."""
    refs = [f"m{number}:1:0123456789ab" for number in range(1003)]
    await worker(cell)
    for ref in refs:
        await warm_hint(cell, "w1", "disk", ref=ref)
    await cell.place(*(placing(ref=ref) for ref in refs), limits=WIDE._replace(pending=2000))
    orders = await orders_by_name(cell)
    assert [order.split()[1] for order in orders] == refs[3:]
    assert len(await cell.orders()) == len(refs)


async def test_of_two_equally_fast_workers_the_first_by_name_is_chosen(cell: Cell) -> None:
    """So that two gateways choose alike."""
    for name in ("w3", "w1", "w2"):
        await worker(cell, name)
        await warm_hint(cell, name, "disk")
    await cell.place(placing())
    assert (await lease(cell))["for"] == "w1"
    assert await orders_by_name(cell, "w2") == await orders_by_name(cell, "w3") == []


async def test_a_worker_that_refused_is_not_preferred_again(cell: Cell) -> None:
    """The next nearest is."""
    epoch = await worker(cell, "w1")
    await worker(cell, "w2")
    await warm_hint(cell, "w1", "host", epoch)
    await warm_hint(cell, "w2", "disk")
    await cell.place(placing())
    token = await cell.claim("w1", epoch)
    assert await cell.scripts.refuse_load("w1", REF, token) == "ordered"
    assert ((await lease(cell))["for"], (await lease(cell))["refused"]) == ("w2", " w1")


async def test_a_ref_of_ten_thousand_characters_is_ordered_whole(cell: Cell) -> None:
    """The token is still the last word of the order."""
    ref = f"{'m' * 10_000}:1:0123456789ab"
    epoch = await worker(cell)
    await warm_hint(cell, "w1", "disk", ref=ref)
    await cell.place(placing(ref=ref))
    (order,) = await orders_by_name(cell)
    assert order.split(" ") == ["load", ref, await cell.token(ref)]
    assert await claim(cell, "w1", epoch, ref) == "claimed"


async def test_an_order_of_a_session_that_is_over_is_not_carried_out(cell: Cell) -> None:
    """Unless another session, or a request, still waits for it."""
    epoch = await worker(cell, budget_bytes=100)
    refs = (REF, OTHER_REF, "clip:1:111111111111")
    await cell.scripts.open_session("s1", 9000, 9, [(ref, 30) for ref in refs])
    await cell.scripts.open_session("s2", 9000, 9, [(OTHER_REF, 30)])
    await cell.place(placing(ref=refs[2]))
    assert await cell.scripts.close_session("s1") == 1
    found = [await claim(cell, "w1", epoch, ref) for ref in refs]
    assert found == ["unwanted", "claimed", "claimed"]
    assert await lease(cell) == {} and await cell.orders() == []
    await cell.scripts.open_session("s3", 9000, 9, [(REF, 30)])
    assert await claim(cell, "w1", epoch) == "claimed"
