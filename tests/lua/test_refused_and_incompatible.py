"""refuse_load and fail_load with further copies and with workers of more than one device class."""

from __future__ import annotations

from tests.helpers.cell import LEASE_MS, Cell
from tests.helpers.factories import REF, kept, placing
from tests.lua.fleet import NOW_MS, claim, lease, members, warm_hint, worker

CAUSE = b"corrupt it does not run here"


async def fail(cell: Cell, name: str, device_class: str, backoff_ms: int = 5000) -> int:
    token = await cell.token()
    return await cell.scripts.fail_load(
        name, REF, token, CAUSE, backoff_ms, device_class=device_class, scope="class"
    )


async def test_a_further_copy_without_capacity_is_not_ordered_for_a_while(cell: Cell) -> None:
    """`no_capacity`: the lease goes, the holder serves on, and it may be tried after 5 s."""
    await worker(cell, "w1", holds=[REF])
    epoch = await worker(cell, "w2")
    await cell.scripts.order_copy(REF, 2)
    assert await cell.scripts.reconcile() == (0, 1)
    token = await cell.claim("w2", epoch)
    assert await cell.scripts.refuse_load("w2", REF, token) == "no_capacity"
    assert await cell.exists(cell.keys.load(REF), cell.keys.loads("w2")) == []
    assert 0 < await cell.client.pttl(cell.keys.no_capacity(REF)) <= 5000
    assert await cell.scripts.reconcile() == (0, 0)
    assert (await cell.place(placing()))[0].status == "placed"
    await cell.client.delete(cell.keys.no_capacity(REF))
    assert await cell.scripts.reconcile() == (0, 1)


async def test_a_further_copy_goes_round_before_it_is_given_up(cell: Cell) -> None:
    """It stays a further copy on its way: each worker is asked once."""
    await worker(cell, "w1", holds=[REF])
    epochs = {name: await worker(cell, name) for name in ("w2", "w3")}
    await cell.scripts.order_copy(REF, 2)
    await cell.scripts.reconcile()
    answers = []
    for name, epoch in epochs.items():
        token = await cell.claim(name, epoch)
        answers.append(await cell.scripts.refuse_load(name, REF, token))
    assert answers == ["ordered", "no_capacity"]


async def test_a_model_with_waiting_requests_is_not_refused_for_capacity(cell: Cell) -> None:
    """A first copy that was asked for ahead, and has requests by now: it must be failed."""
    epoch = await worker(cell, "w1")
    await cell.scripts.order_copy(REF)
    await cell.place(kept())
    token = await cell.claim("w1", epoch)
    assert await cell.scripts.refuse_load("w1", REF, token) == "no_worker"
    assert await fail(cell, "w1", "cpu") == 0


async def test_a_former_holder_gets_the_order_when_a_request_waits(cell: Cell) -> None:
    """It had a copy when a further one was ordered, and has freed it since."""
    first, second = await worker(cell, "w1", holds=[REF]), await worker(cell, "w2")
    await cell.scripts.order_copy(REF, 2)
    await cell.scripts.reconcile()
    await cell.scripts.retire("w1", first, REF)
    await cell.place(kept())
    token = await cell.claim("w2", second)
    assert await cell.scripts.refuse_load("w2", REF, token) == "ordered"
    assert await claim(cell, "w1", first) == "claimed"
    assert await cell.scripts.refuse_load("w1", REF, await cell.token()) == "no_worker"


async def test_a_request_that_a_holder_can_serve_does_not_fail(cell: Cell) -> None:
    """Its lease had run out when they came, and it is back: the sweep places them there."""
    cell.scripts.now_ms = NOW_MS
    first, second = await worker(cell, "w1", holds=[REF], lease_ms=1), await worker(cell, "w2")
    cell.scripts.now_ms += 1
    await cell.place(kept())
    token = await cell.claim("w2", second)
    assert (await cell.scripts.heartbeat("w1", first, "one", LEASE_MS, 1, {})).answer == "ok"
    assert await cell.scripts.refuse_load("w2", REF, token) == "no_capacity"
    assert await cell.scripts.sweep() == (0, 0, 1)
    assert await cell.client.xlen(cell.keys.work("w1")) == 1


async def test_a_holder_does_not_take_a_further_copy(cell: Cell) -> None:
    """It has one; the others are asked."""
    first = await worker(cell, "w1", holds=[REF])
    second = await worker(cell, "w2")
    await cell.scripts.order_copy(REF, 2)
    await cell.scripts.reconcile()
    assert await claim(cell, "w1", first) == "refused"
    assert await claim(cell, "w2", second) == "claimed"


async def test_a_further_copy_needs_no_waiting_request(cell: Cell) -> None:
    """It was ordered ahead: it is not `unwanted`, and a cancelled request does not take it back."""
    epoch = await worker(cell, "w1")
    await cell.scripts.order_copy(REF)
    item = kept()
    await cell.place(item)
    assert await cell.cancel(item.id) == "cancelled"
    assert await claim(cell, "w1", epoch) == "claimed"


async def test_a_model_that_fails_on_one_class_is_tried_on_another(cell: Cell) -> None:
    """Two workers of a class must agree; who waits is answered when every class has failed."""
    first = await worker(cell, "w1", device_class="a")
    twin = await worker(cell, "w2", device_class="a")
    last = await worker(cell, "w3", device_class="b")
    item = kept()
    await cell.place(item)
    await cell.claim("w1", first)
    assert await fail(cell, "w1", "a") == 0
    assert (await cell.record(item.id))["status"] == b"parked"
    assert await cell.exists(cell.keys.loads("w1"), cell.keys.unloadable(REF)) == []
    assert await members(cell, cell.keys.incompatible(REF)) == set()
    await cell.claim("w2", twin)
    assert await fail(cell, "w2", "a") == 0
    assert await members(cell, cell.keys.incompatible(REF)) == {"a"}
    await cell.claim("w3", last)
    assert await fail(cell, "w3", "b") == 0
    said = b"corrupt 3 workers could not load it (w1, w2, w3), the last: it does not run here"
    assert (await cell.record(item.id))["outcome"] == said
    assert (await cell.place(placing()))[0].status == "unloadable"
    assert await members(cell, cell.keys.incompatible(REF)) == {"a", "b"}
    assert 0 < await cell.client.pttl(cell.keys.incompatible(REF)) <= 5000


async def test_a_class_that_failed_is_not_asked_while_that_is_known(cell: Cell) -> None:
    """Not the nearest of them either; afterwards it may."""
    first = await worker(cell, "w1", device_class="a")
    await worker(cell, "w2", device_class="b")
    await warm_hint(cell, "w1", "disk")
    await cell.place(placing())
    await cell.claim("w1", first)
    await fail(cell, "w1", "a")
    assert (await lease(cell))["for"] == ""
    keys = cell.keys
    await cell.client.delete(keys.load(REF), keys.incompatible(REF), keys.failed_on(REF))
    await cell.scripts.sweep()
    assert ((await lease(cell))["for"], (await lease(cell))["refused"]) == ("w1", "")


async def test_a_worker_that_refuses_is_named_once(cell: Cell) -> None:
    """The lease does not grow by what is refused again, nor by a class that is incompatible."""
    await worker(cell, "w1", device_class="a")
    second = await worker(cell, "w2", device_class="b")
    await worker(cell, "w3", device_class="b")
    await cell.client.sadd(cell.keys.incompatible(REF), "a")
    await cell.client.expire(cell.keys.incompatible(REF), 60)
    await cell.place(placing())
    await cell.scripts.refuse_load("w2", REF, await cell.claim("w2", second))
    for _ in range(3):
        assert await claim(cell, "w2", second) == "refused"
        assert await cell.scripts.refuse_load("w2", REF, await cell.token()) == "ordered"
    assert (await lease(cell))["refused"].split() == ["w2"]


async def test_a_failed_load_fails_no_request_that_a_holder_can_serve(cell: Cell) -> None:
    """Its lease had run out when they came, and it is back. No further copy is ordered for a while,
    and the model is not refused: somebody holds it."""
    cell.scripts.now_ms = NOW_MS
    first, second = await worker(cell, "w1", holds=[REF], lease_ms=1), await worker(cell, "w2")
    cell.scripts.now_ms += 1
    await cell.place(kept())
    await cell.claim("w2", second)
    assert (await cell.scripts.heartbeat("w1", first, "one", LEASE_MS, 1, {})).answer == "ok"
    await cell.client.hset(cell.keys.worker("w1"), "device_class", "b")
    await cell.client.sadd(cell.keys.incompatible(REF), "b")
    await cell.client.expire(cell.keys.incompatible(REF), 60)
    assert await fail(cell, "w2", "a") == 0
    assert await cell.exists(cell.keys.load(REF), cell.keys.loads("w2")) == []
    assert await cell.scripts.sweep() == (0, 0, 1)
    assert await cell.client.xlen(cell.keys.work("w1")) == 1
    assert await cell.exists(cell.keys.unloadable(REF)) == []
    assert await cell.exists(cell.keys.no_capacity(REF)) != []


async def test_a_former_holder_gets_the_order_before_requests_fail(cell: Cell) -> None:
    """A further copy failed on another class, and the first one has gone meanwhile."""
    first = await worker(cell, "w1", holds=[REF], device_class="a")
    second = await worker(cell, "w2", device_class="b")
    await cell.scripts.order_copy(REF, 2)
    await cell.scripts.reconcile()
    await cell.scripts.retire("w1", first, REF)
    item = kept()
    await cell.place(item)
    await cell.claim("w2", second)
    assert await fail(cell, "w2", "b") == 0
    assert await claim(cell, "w2", second) == "refused"
    assert await claim(cell, "w1", first) == "claimed"
    assert (await cell.record(item.id))["status"] == b"parked"


async def test_a_passing_reason_marks_no_class(cell: Cell) -> None:
    """The store was away: that is nobody's device."""
    epoch = await worker(cell, "w1", device_class="a")
    await cell.place(kept())
    token = await cell.claim("w1", epoch)
    await cell.scripts.fail_load("w1", REF, token, CAUSE, 5000, passing=True, device_class="a")
    assert await cell.exists(cell.keys.incompatible(REF)) == []


async def test_a_dead_worker_of_another_class_is_not_waited_for(cell: Cell) -> None:
    """Nor one that has refused it already."""
    cell.scripts.now_ms = NOW_MS
    epoch = await worker(cell, "w1", device_class="a")
    await worker(cell, "w2", lease_ms=1, device_class="b")
    third = await worker(cell, "w3", device_class="c")
    cell.scripts.now_ms += 1
    item = kept()
    await cell.place(item)
    await cell.scripts.refuse_load("w3", REF, await cell.claim("w3", third))
    await cell.claim("w1", epoch)
    assert await fail(cell, "w1", "a") == 0
    assert (await cell.record(item.id))["status"] == b"failed"


async def test_what_a_load_waits_for_stands_in_its_lease(cell: Cell) -> None:
    """Until it waits no more; a lease that is lost gets none."""
    epoch = await worker(cell)
    await cell.place(placing())
    token = await cell.claim("w1", epoch)
    assert await cell.scripts.renew_load("w1", REF, token, LEASE_MS, "a busy copy drains")
    assert (await lease(cell))["why"] == "a busy copy drains"
    assert await cell.scripts.renew_load("w1", REF, token, LEASE_MS)
    assert (await lease(cell))["why"] == ""
    assert not await cell.scripts.renew_load("w2", REF, token, LEASE_MS, "mine")
    assert (await lease(cell))["why"] == ""
