"""claim_load, renew_load, refuse_load, fail_load: one load at a time, by who holds the token."""

from __future__ import annotations

import asyncio
import json

from shared.scripts import CHUNK
from tests.helpers.cell import LEASE_MS, Cell, open_cell
from tests.helpers.factories import OTHER_REF, REF, kept, placing

CAUSE = b"corrupt its hash is wrong"


async def claim(cell: Cell, worker: str, epoch: str, token: str, ref: str = REF) -> str:
    return await cell.scripts.claim_load(worker, epoch, ref, token, LEASE_MS)


async def test_the_order_names_the_model_and_the_token(cell: Cell) -> None:
    """It is a job in RQ's own format with a lifetime, and the lease knows its token."""
    await cell.place(placing())
    (order,) = await cell.orders()
    job = await cell.client.hgetall(cell.keys.rq_job(order))
    assert json.loads(job[b"data"]) == ["warmroute.load", None, [REF, await cell.token()], {}]
    assert order.endswith(await cell.token())
    assert await cell.client.ttl(cell.keys.rq_job(order)) > 0


async def test_the_first_to_claim_gets_the_load(cell: Cell) -> None:
    """The lease names it from then on; whoever comes later, itself included, is stale."""
    first, second = await cell.worker("w1"), await cell.worker("w2")
    await cell.place(placing())
    token = await cell.token()
    assert await claim(cell, "w1", first, token) == "claimed"
    assert await claim(cell, "w1", first, token) == "stale"
    assert await claim(cell, "w2", second, token) == "stale"
    lease = await cell.client.hgetall(cell.keys.load(REF))
    assert (lease[b"worker"], lease[b"phase"]) == (b"w1", b"loading")


async def test_an_old_order_is_stale(cell: Cell) -> None:
    """Its token was replaced, or the lease is over."""
    epoch = await cell.worker("w1")
    await cell.place(placing())
    token = await cell.token()
    assert await claim(cell, "w1", epoch, "0" * 24) == "stale"
    assert await claim(cell, "w1", epoch, token, OTHER_REF) == "stale"
    await cell.client.delete(cell.keys.load(REF))
    assert await claim(cell, "w1", epoch, token) == "stale"


async def test_a_model_without_waiting_requests_is_not_loaded(cell: Cell) -> None:
    """The lease goes, so that the next request orders anew."""
    epoch = await cell.worker("w1")
    item = placing()
    await cell.place(item)
    token = await cell.token()
    await cell.client.delete(cell.keys.parked(REF))
    assert await claim(cell, "w1", epoch, token) == "unwanted"
    assert await cell.exists(cell.keys.load(REF), cell.keys.parked_refs) == []
    await cell.place(placing())
    assert await cell.token() not in ("", token)


async def test_a_worker_of_an_older_epoch_loads_nothing(cell: Cell) -> None:
    """The order stays for others."""
    old = await cell.worker("w1")
    epoch = await cell.worker("w1")
    await cell.place(placing())
    token = await cell.token()
    assert await claim(cell, "w1", old, token) == "fenced"
    assert await claim(cell, "w1", epoch, token) == "claimed"


async def test_a_lease_is_renewed_by_its_holder_alone(cell: Cell) -> None:
    """Not by others, not with another token, not once it is over."""
    epoch = await cell.worker("w1")
    await cell.place(placing())
    token = await cell.claim("w1", epoch)
    assert await cell.scripts.renew_load("w1", REF, token, 60_000)
    assert await cell.client.pttl(cell.keys.load(REF)) > LEASE_MS
    assert not await cell.scripts.renew_load("w2", REF, token, 60_000)
    assert not await cell.scripts.renew_load("w1", REF, "0" * 24, 60_000)
    await cell.client.delete(cell.keys.load(REF))
    assert not await cell.scripts.renew_load("w1", REF, token, 60_000)
    assert await cell.exists(cell.keys.load(REF)) == []


async def test_a_refused_load_is_ordered_for_the_others(cell: Cell) -> None:
    """With a new token, which the worker that refused cannot claim."""
    first, second = await cell.worker("w1"), await cell.worker("w2")
    await cell.place(placing())
    token = await cell.claim("w1", first)
    assert await cell.scripts.refuse_load("w1", REF, token) == "ordered"
    new = await cell.token()
    assert new != token
    assert await claim(cell, "w1", first, new) == "refused"
    assert await claim(cell, "w2", second, new) == "claimed"


async def test_an_order_returned_to_its_refuser_is_handed_on_again(cell: Cell) -> None:
    """Any number of times, and the lease does not grow by it."""
    epoch = await cell.worker("w1")
    await cell.worker("w2")
    await cell.place(placing())
    await cell.scripts.refuse_load("w1", REF, await cell.claim("w1", epoch))
    for _ in range(3):
        assert await claim(cell, "w1", epoch, await cell.token()) == "refused"
        assert await cell.scripts.refuse_load("w1", REF, await cell.token()) == "ordered"
    lease = await cell.client.hgetall(cell.keys.load(REF))
    assert lease[b"refused"].split() == [b"w1"]


async def test_without_another_live_worker_the_answer_is_no_worker(cell: Cell) -> None:
    """The last to refuse keeps the lease, and fails the load with it."""
    cell.scripts.now_ms = 1_000_000
    first, second = await cell.worker("w1"), await cell.worker("w2")
    await cell.worker("w3", lease_ms=1)
    cell.scripts.now_ms += 1  # w3 is dead now
    await cell.place(placing())
    await cell.scripts.refuse_load("w1", REF, await cell.claim("w1", first))
    token = await cell.claim("w2", second)
    assert await cell.scripts.refuse_load("w2", REF, token) == "no_worker"
    assert await cell.token() == token
    assert await cell.scripts.fail_load("w2", REF, token, CAUSE, 1000) == 0


async def test_a_refused_order_may_leave_no_worker(cell: Cell) -> None:
    """The other worker died meanwhile: it fails the load without having claimed it."""
    epoch = await cell.worker("w1")
    await cell.worker("w2")
    await cell.place(placing())
    await cell.scripts.refuse_load("w1", REF, await cell.claim("w1", epoch))
    await cell.client.zrem(cell.keys.workers, "w2")
    token = await cell.token()
    assert await claim(cell, "w1", epoch, token) == "refused"
    assert await cell.scripts.refuse_load("w1", REF, token) == "no_worker"
    assert await cell.scripts.fail_load("w1", REF, token, CAUSE, 1000) == 0


async def test_only_the_worker_that_may_load_can_refuse(cell: Cell) -> None:
    """A wrong token, another's claim and a lease that is over are stale."""
    epoch = await cell.worker("w1")
    await cell.worker("w2")
    await cell.place(placing())
    token = await cell.claim("w1", epoch)
    assert await cell.scripts.refuse_load("w2", REF, token) == "stale"
    assert await cell.scripts.refuse_load("w1", REF, "0" * 24) == "stale"
    assert await cell.token() == token
    await cell.client.delete(cell.keys.load(REF))
    assert await cell.scripts.refuse_load("w1", REF, token) == "stale"


async def test_a_name_that_contains_another_is_not_taken_for_it(cell: Cell) -> None:
    """w1 refused; w11 and 1 did not."""
    first = await cell.worker("w1")
    epoch = await cell.worker("w11")
    await cell.place(placing())
    await cell.scripts.refuse_load("w1", REF, await cell.claim("w1", first))
    assert await claim(cell, "w11", epoch, await cell.token()) == "claimed"


async def test_a_failed_load_answers_everything_parked(cell: Cell) -> None:
    """With the cause, and new requests get it at once for a while."""
    await cell.gateway()
    epoch = await cell.worker("w1")
    waiting, polled = placing(), kept()
    await cell.place(waiting, polled)
    token = await cell.claim("w1", epoch)
    assert await cell.scripts.fail_load("w1", REF, token, CAUSE, 5000) == 0
    (reply,) = await cell.replies()
    assert (reply["status"], reply["outcome"], reply["cold"]) == (b"failed", CAUSE, b"1")
    assert (await cell.record(polled.id))["outcome"] == CAUSE
    assert 0 < await cell.client.pttl(cell.keys.unloadable(REF)) <= 5000
    assert (await cell.place(placing()))[0].status == "unloadable"
    assert await cell.exists(
        cell.keys.load(REF), cell.keys.parked(REF), cell.keys.parked_refs, cell.keys.deadlines
    ) == []  # fmt: skip


async def test_a_failed_load_answers_in_bounded_chunks(cell: Cell) -> None:
    """The caller is told how many are left; no new request joins them meanwhile."""
    epoch = await cell.worker("w1")
    await cell.place(*[kept() for _ in range(CHUNK + 2)])
    token = await cell.claim("w1", epoch)
    assert await cell.scripts.fail_load("w1", REF, token, CAUSE, 5000) == 2
    assert (await cell.place(placing()))[0].status == "unloadable"
    assert await cell.scripts.fail_load("w1", REF, token, CAUSE, 5000) == 0


async def test_only_the_holder_of_the_lease_can_fail_a_load(cell: Cell) -> None:
    """A load that lost its lease condemns nothing."""
    epoch = await cell.worker("w1")
    await cell.place(placing())
    token = await cell.claim("w1", epoch)
    assert await cell.scripts.fail_load("w2", REF, token, CAUSE, 5000) == -1
    assert await cell.scripts.fail_load("w1", REF, "0" * 24, CAUSE, 5000) == -1
    await cell.client.delete(cell.keys.load(REF))
    assert await cell.scripts.fail_load("w1", REF, token, CAUSE, 5000) == -1
    assert await cell.exists(cell.keys.unloadable(REF)) == []
    assert await cell.client.xlen(cell.keys.parked(REF)) == 1


async def test_of_many_that_claim_at_once_one_loads(cell: Cell) -> None:
    """Twenty workers over twenty connections."""
    names = [f"w{n}" for n in range(20)]
    epochs = [await cell.worker(name) for name in names]
    await cell.place(placing())
    token, cells = await cell.token(), [open_cell(cell.url, cell.name) for _ in names]
    try:
        answers = await asyncio.gather(*(
            claim(own, name, epoch, token)
            for own, name, epoch in zip(cells, names, epochs, strict=True)
        ))  # fmt: skip
    finally:
        for own in cells:
            await own.close()
    assert sorted(answers) == ["claimed"] + ["stale"] * 19


async def test_a_load_that_failed_for_a_passing_reason_is_ordered_again_after_a_while(
    cell: Cell,
) -> None:
    """What was accepted waits on; new requests are told why, and when to come back."""
    epoch = await cell.worker("w1")
    item = kept()
    await cell.place(item)
    token = await cell.claim("w1", epoch)
    cause = b"store_unavailable the store does not answer"
    assert await cell.scripts.fail_load("w1", REF, token, cause, 60_000, passing=True) == 0
    (refused,) = await cell.place(placing())
    assert (refused.status, refused.detail.encode()) == ("unloadable", cause)
    assert 0 < refused.retry_ms <= 60_000
    assert await cell.scripts.sweep() == (0, 0, 0)
    assert await cell.exists(cell.keys.load(REF), cell.keys.loads("w1")) == []
    await cell.client.delete(cell.keys.unloadable(REF))
    assert await cell.scripts.sweep() == (0, 1, 0)
    assert (await cell.record(item.id))["status"] == b"parked"


async def test_what_a_dead_worker_had_waits_too_while_its_model_cannot_be_loaded(
    cell: Cell,
) -> None:
    """It was accepted; the reason will pass."""
    epoch = await cell.worker("w1", holds=[REF])
    await cell.place(kept())
    await cell.client.set(cell.keys.unloadable(REF), "~store_unavailable it is away", px=60_000)
    await cell.scripts.fence_worker("w1", epoch, 0, "died", 3)
    assert await cell.client.xlen(cell.keys.parked(REF)) == 1
    assert await cell.token() == ""
