"""place.lua: where the queue takes longer than a new copy would, another copy is ordered (I32)."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from shared.placed import Limits
from tests.helpers.cell import LEASE_MS, Cell
from tests.helpers.factories import OTHER_REF, REF, placing
from tests.lua.fleet import NOW_MS, claim, lease, loaded_once, orders_by_name, warm_hint, worker

SPILL_FROM = 4


async def crowd(cell: Cell, number: int, ref: str = REF) -> None:
    """So many requests for a model that is held."""
    placed = await cell.place(*(placing(ref=ref) for _ in range(number)))
    assert {p.status for p in placed} == {"placed"}


async def a_moment_later(cell: Cell, ref: str = REF) -> None:
    """It is remembered for a quarter of a second that nobody could take a further copy."""
    await cell.client.delete(cell.keys.no_capacity(ref))


@pytest.fixture
async def busy(cell: Cell) -> Cell:
    """w1 holds the model, is never idle, and takes a second for a request; w2 has room. A load
    takes two."""
    cell.scripts.now_ms = NOW_MS
    await worker(cell, "w1", holds=[REF], service_ms=1000, busy_share=1)
    await worker(cell, "w2")
    return cell


async def test_a_queue_that_takes_longer_than_a_load_orders_a_copy(busy: Cell) -> None:
    """From anybody but who holds it; the requests are placed all the same, and wait for no load."""
    await crowd(busy, SPILL_FROM)
    assert await lease(busy) == {}
    await crowd(busy, 1)
    order = await lease(busy)
    assert (order["extra"], order["refused"], order["for"]) == ("scale_out", "", "")
    assert await claim(busy, "w1", (await busy.epoch("w1")).decode()) == "refused"
    assert await busy.client.xlen(busy.keys.work("w1")) == SPILL_FROM + 1


async def test_one_copy_is_ordered_at_a_time(busy: Cell) -> None:
    """Within a call, and while it is on its way."""
    await crowd(busy, 50)
    await crowd(busy, 50)
    assert len(await busy.orders()) == 1


async def test_the_next_copy_is_ordered_when_both_are_behind(busy: Cell) -> None:
    """By the least loaded of them."""
    await worker(busy, "w3")
    await crowd(busy, SPILL_FROM + 1)
    epoch = (await busy.epoch("w2")).decode()
    token = await busy.claim("w2", epoch)
    await busy.scripts.announce("w2", epoch, REF, token, "device 1")
    await busy.client.hset(busy.keys.worker("w2"), mapping={"service_ms": 1000, "busy_share": 1})
    await crowd(busy, SPILL_FROM)
    assert await lease(busy) == {}
    await crowd(busy, 2 * SPILL_FROM)
    assert (await lease(busy))["extra"] == "scale_out"
    for holder in ("w1", "w2"):
        assert await claim(busy, holder, (await busy.epoch(holder)).decode()) == "refused"


async def test_no_copy_goes_where_models_push_each_other_out(busy: Cell) -> None:
    """It would push out one more; once that is over it may."""
    await busy.client.hset(busy.keys.worker("w2"), "contended", 1)
    await crowd(busy, 50)
    assert await lease(busy) == {}
    await busy.client.hset(busy.keys.worker("w2"), "contended", 0)
    await crowd(busy, 1)
    assert await lease(busy) == {}
    await a_moment_later(busy)
    await crowd(busy, 1)
    assert (await lease(busy))["extra"] == "scale_out"


@pytest.mark.parametrize(
    ("number", "service_ms", "load_ms", "ordered"),
    [
        (SPILL_FROM, 10_000, 1, False),  # so short a queue is not looked at
        (SPILL_FROM + 1, 500, 2000, False),  # as long as the load takes
        (SPILL_FROM + 1, 500.25, 2000, True),
        (50, 0, 1, False),  # nothing is known of how long a request takes
        (50, "much", 1, False),
    ],
)
async def test_the_wait_is_the_queue_times_what_a_request_takes(
    cell: Cell, number: int, service_ms: object, load_ms: int, ordered: bool
) -> None:
    """Compared with the load from the store, if nobody has the model nearer."""
    await worker(cell, "w1", holds=[REF], service_ms=service_ms, busy_share=1)
    await worker(cell, "w2")
    await loaded_once(cell, remote=load_ms)
    await crowd(cell, number)
    assert (await lease(cell) != {}) is ordered


@pytest.mark.parametrize(
    ("holder", "other", "ordered"),
    [(1, 0, True), (0.7, 0.69, True), (0.69, 0, False), (1, 0.7, False), ("", "", False)],
)
async def test_a_copy_helps_only_where_a_device_has_time(
    cell: Cell, holder: object, other: object, ordered: bool
) -> None:
    """A holder that has time serves its queue soon; a worker without any would serve no sooner."""
    await worker(cell, "w1", holds=[REF], service_ms=60_000, busy_share=holder)
    await worker(cell, "w2", busy_share=other)
    await crowd(cell, 50)
    assert (await lease(cell) != {}) is ordered


async def test_of_several_holders_all_must_be_busy(cell: Cell) -> None:
    """Else the one that has time is given what comes next."""
    await worker(cell, "w1", holds=[REF], service_ms=60_000, busy_share=1)
    await worker(cell, "w2", holds=[REF], service_ms=60_000, busy_share=0.1)
    await worker(cell, "w3")
    await crowd(cell, 50)
    assert await lease(cell) == {}
    await cell.client.hset(cell.keys.worker("w2"), "busy_share", 1)
    await crowd(cell, 1)
    assert (await lease(cell))["extra"] == "scale_out"


async def test_a_burst_in_one_call_is_judged_by_its_whole_queue(cell: Cell) -> None:
    """Its first requests alone would be served before a copy could be there."""
    await worker(cell, "w1", holds=[REF], service_ms=100, busy_share=1)
    await worker(cell, "w2")
    await crowd(cell, 100)
    assert (await lease(cell))["extra"] == "scale_out"


async def test_a_warm_copy_is_ordered_earlier_and_its_queue_counts(cell: Cell) -> None:
    """From disk in 200 ms; behind other requests of that worker it takes longer."""
    await worker(cell, "w1", holds=[REF], service_ms=100, busy_share=1)
    await worker(cell, "w2", holds=[OTHER_REF], service_ms=100)
    await warm_hint(cell, "w2", "disk")
    await crowd(cell, 3, OTHER_REF)
    await crowd(cell, SPILL_FROM + 2)
    assert await lease(cell) == {}
    await a_moment_later(cell)
    await crowd(cell, 1)
    assert (await lease(cell))["for"] == "w2"
    assert await orders_by_name(cell, "w2") == [f"load {REF} {await cell.token()}"]


@pytest.mark.parametrize(
    "why", ["no other", "dead", "most", "unloadable", "no_capacity", "loading"]
)
async def test_a_copy_that_cannot_be_is_not_ordered(cell: Cell, why: str) -> None:
    """No other worker, as many as there may be, or it was tried a moment ago."""
    cell.scripts.now_ms = NOW_MS
    await worker(cell, "w1", holds=[REF], service_ms=60_000, busy_share=1)
    if why != "no other":
        await worker(cell, "w2", lease_ms=1 if why == "dead" else 10_000)
    cell.scripts.now_ms += 1
    if why == "most":
        await loaded_once(cell, max_copies=1)
    elif why in ("unloadable", "no_capacity"):
        await cell.client.set(getattr(cell.keys, why)(REF), "w3", px=5000)
    elif why == "loading":
        await cell.scripts.order_copy(OTHER_REF)
        await cell.client.rename(cell.keys.load(OTHER_REF), cell.keys.load(REF))
    before = await cell.orders()
    await crowd(cell, 20)
    assert await cell.orders() == before


async def test_the_api_may_allow_more_copies_than_the_manifest(cell: Cell) -> None:
    """And fewer; what cannot be read allows any number."""
    await worker(cell, "w1", holds=[REF], service_ms=60_000, busy_share=1)
    await worker(cell, "w2")
    await loaded_once(cell, max_copies=1)
    await crowd(cell, 10)
    assert await cell.orders() == []
    await cell.scripts.set_policy(REF, {"max_copies": "2"})
    await crowd(cell, 1)
    assert len(await cell.orders()) == 1


async def test_the_queue_of_the_loading_worker_counts(cell: Cell) -> None:
    """Two workers that are as busy do not swap their models."""
    await worker(cell, "w1", holds=[REF], service_ms=1000, busy_share=1)
    await worker(cell, "w2", holds=[OTHER_REF], service_ms=1000)
    await crowd(cell, 10, OTHER_REF)
    for _ in range(3):
        await crowd(cell, 4)
        await a_moment_later(cell)
    await crowd(cell, 1)
    assert await lease(cell) == {}
    await a_moment_later(cell)
    await crowd(cell, 1)
    assert (await lease(cell))["extra"] == "scale_out"


async def test_a_model_that_is_only_tried_is_not_copied(cell: Cell) -> None:
    """It has crashed workers, and one request is let through."""
    await worker(cell, "w1", holds=[REF], service_ms=60_000, busy_share=1)
    await worker(cell, "w2")
    await crowd(cell, SPILL_FROM)
    await cell.client.hset(cell.keys.breaker(REF), mapping={"until": 1, "crashes": 5, "cause": "x"})
    await cell.client.expire(cell.keys.breaker(REF), 60)
    await cell.place(placing())
    assert await cell.orders() == []


async def test_a_request_that_is_refused_orders_a_copy_too(cell: Cell) -> None:
    """The queue is full: that is when it is needed most."""
    await worker(cell, "w1", holds=[REF], service_ms=60_000, busy_share=1)
    await worker(cell, "w2")
    await crowd(cell, SPILL_FROM)
    (refused,) = await cell.place(placing(), limits=Limits(SPILL_FROM, 10, 100))
    assert refused.status == "full"
    assert (await lease(cell))["extra"] == "scale_out"


async def test_in_a_large_fleet_the_one_that_has_time_is_found(cell: Cell) -> None:
    """Until it is there no copy is ordered; more workers are there than a choice looks at."""
    for number in range(50):
        await beating(cell, f"w{number}", 1, holds=[REF])
    for _ in range(50):  # in each call some of the holders are looked at
        await crowd(cell, 2 * SPILL_FROM)
    assert await lease(cell) == {}
    await beating(cell, "one-more", 0)
    await a_moment_later(cell)
    await crowd(cell, 1)
    assert (await lease(cell))["extra"] == "scale_out"


async def beating(cell: Cell, name: str, busy: float, holds: Iterable[str] = ()) -> None:
    """A worker whose heartbeat says how busy it is."""
    epoch, held = await cell.worker(name, holds=holds), len(list(holds))
    report = {"state": "ready", "busy_share": busy, "service_ms": 60_000}
    assert (await cell.scripts.heartbeat(name, epoch, "one", LEASE_MS, held, report)).answer == "ok"
