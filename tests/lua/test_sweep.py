"""sweep.lua: what is late expires; what is parked without a live load is ordered again."""

from __future__ import annotations

import asyncio

from shared.scripts import CHUNK, Cancel
from tests.helpers.cell import LEASE_MS, Cell, open_cell
from tests.helpers.factories import OTHER_REF, REF, kept, placing


async def test_a_request_expires_at_its_deadline(cell: Cell) -> None:
    """Not before; where it waits does not matter; pollers and waiting callers are told."""
    cell.scripts.now_ms = 1_000_000
    await cell.gateway()
    await cell.worker("w1", holds=[OTHER_REF])
    items = [kept(timeout_ms=100, reply="gw1"), kept(timeout_ms=100, ref=OTHER_REF)]
    await cell.place(*items)
    cell.scripts.now_ms += 99
    assert (await cell.scripts.sweep())[0] == 0
    cell.scripts.now_ms += 1
    assert (await cell.scripts.sweep())[0] == 2
    for item in items:
        record = await cell.record(item.id)
        assert record["status"] == b"expired"
        assert record["outcome"].startswith(b"expired the deadline passed: ")
    assert [r["status"] for r in await cell.replies()] == [b"expired"]
    assert await cell.client.xlen(cell.keys.work("w1")) == 0
    assert await cell.exists(cell.keys.deadlines) == []


async def test_a_request_that_runs_expires_too(cell: Cell) -> None:
    """The worker's outcome comes too late and is not published."""
    cell.scripts.now_ms = 1_000_000
    epoch = await cell.worker("w1", holds=[REF])
    item = kept(timeout_ms=100)
    await cell.place(item)
    entries = await cell.read("w1")
    await cell.begin("w1", epoch, entries)
    cell.scripts.now_ms += 100
    assert (await cell.scripts.sweep())[0] == 1
    assert await cell.complete("w1", epoch, entries) == [0]
    assert (await cell.record(item.id))["status"] == b"expired"


async def test_a_request_whose_stream_was_lost_still_reaches_its_end(cell: Cell) -> None:
    """Somebody deleted the stream that it waited in: at its deadline the poller is told."""
    cell.scripts.now_ms = 1_000_000
    await cell.worker("w1", holds=[REF])
    item = kept(timeout_ms=100)
    await cell.place(item)
    await cell.client.delete(cell.keys.work("w1"))
    cell.scripts.now_ms += 100
    assert (await cell.scripts.sweep())[0] == 1
    assert (await cell.record(item.id))["status"] == b"expired"


async def test_a_deadline_without_a_record_is_forgotten(cell: Cell) -> None:
    """Its record is gone: there is nothing to expire, now or in the next sweep."""
    await cell.client.zadd(cell.keys.deadlines, {"f" * 32: 1})
    assert await cell.scripts.sweep() == (0, 0, 0)
    assert await cell.exists(cell.keys.deadlines, cell.keys.request("f" * 32)) == []


async def test_many_late_requests_expire_in_bounded_chunks(cell: Cell) -> None:
    """Each call takes so many; over a few all are done."""
    cell.scripts.now_ms = 1_000_000
    await cell.place(*[kept(timeout_ms=1) for _ in range(CHUNK + 3)])
    cell.scripts.now_ms += 1
    assert [(await cell.scripts.sweep())[0] for _ in range(3)] == [CHUNK, 3, 0]


async def test_a_lost_load_is_ordered_again_with_a_new_token(cell: Cell) -> None:
    """Its lease ran out: the worker died, or the order was lost."""
    await cell.place(placing(), placing())
    token = await cell.token()
    await cell.client.delete(cell.keys.load(REF))
    assert await cell.scripts.sweep() == (0, 1, 0)
    assert await cell.token() not in ("", token)
    assert await cell.scripts.sweep() == (0, 0, 0)


async def test_an_order_that_still_waits_in_the_queue_stays_valid(cell: Cell) -> None:
    """No worker had room for it yet: lease and job live on, no second order is made."""
    await cell.place(placing())
    (order,) = await cell.orders()
    await cell.client.pexpire(cell.keys.load(REF), 5000)
    await cell.client.expire(cell.keys.rq_job(order), 5)
    assert await cell.scripts.sweep() == (0, 0, 0)
    assert await cell.client.pttl(cell.keys.load(REF)) > 5000
    assert await cell.client.ttl(cell.keys.rq_job(order)) > 5
    assert await cell.orders() == [order]


async def test_an_order_that_a_worker_took_and_died_with_is_not_kept_alive(cell: Cell) -> None:
    """RQ moved it out of the queue and nobody ran it: its lease runs out, and a new one is made."""
    await cell.place(placing())
    (order,) = await cell.orders()
    queue = cell.keys.rq_queue()
    await cell.client.lmove(queue, f"{queue}:intermediate", "LEFT", "RIGHT")
    await cell.client.pexpire(cell.keys.load(REF), 5000)
    assert await cell.scripts.sweep() == (0, 0, 0)
    assert await cell.client.pttl(cell.keys.load(REF)) <= 1000
    await cell.client.delete(cell.keys.load(REF))
    assert await cell.scripts.sweep() == (0, 1, 0)
    assert await cell.orders() not in ([], [order])


async def test_a_load_under_way_is_left_alone(cell: Cell) -> None:
    """Its own worker renews its lease."""
    epoch = await cell.worker("w1")
    await cell.place(placing())
    token = await cell.claim("w1", epoch)
    before = await cell.client.pttl(cell.keys.load(REF))
    assert await cell.scripts.sweep() == (0, 0, 0)
    assert await cell.client.pttl(cell.keys.load(REF)) <= before
    assert await cell.token() == token


async def test_a_load_whose_worker_was_reaped_is_ordered_again(cell: Cell) -> None:
    """At once: its lease does not have to run out first."""
    cell.scripts.now_ms = 1_000_000
    epoch = await cell.worker("w1")
    await cell.place(placing())
    token = await cell.claim("w1", epoch)
    cell.scripts.now_ms += LEASE_MS
    assert await cell.reap() == ("w1", 0)
    assert await cell.token() not in ("", token)
    assert await cell.scripts.sweep() == (0, 0, 0)


async def test_what_is_parked_beside_a_live_holder_is_placed(cell: Cell) -> None:
    """A holder that looked dead for a while gets what was parked meanwhile, in bounded chunks."""
    cell.scripts.now_ms = 1_000_000
    epoch = await cell.worker("w1", holds=[REF])
    cell.scripts.now_ms += LEASE_MS
    item = kept()
    await cell.place(item, *[placing() for _ in range(CHUNK)])
    await cell.scripts.heartbeat("w1", epoch, "one", LEASE_MS, 1, {})
    await cell.client.delete(cell.keys.load(REF))
    assert await cell.scripts.sweep() == (0, 0, CHUNK)
    assert await cell.scripts.sweep() == (0, 0, 1)
    assert (await cell.record(item.id))["status"] == b"placed"
    assert await cell.client.xlen(cell.keys.work("w1")) == CHUNK + 1


async def test_a_model_whose_parked_requests_are_gone_is_forgotten(cell: Cell) -> None:
    """With the order that nobody needs any more; a load that has begun keeps its lease."""
    epoch = await cell.worker("w1")
    items = [kept(), kept(ref=OTHER_REF)]
    await cell.place(*items)
    token = await cell.claim("w1", epoch, OTHER_REF)
    for item in items:
        await cell.cancel(item.id)
    assert await cell.scripts.sweep() == (0, 0, 0)
    assert await cell.exists(
        cell.keys.parked_refs, cell.keys.parked(REF), cell.keys.parked(OTHER_REF),
        cell.keys.load(REF),
    ) == []  # fmt: skip
    assert await cell.token(OTHER_REF) == token


async def test_an_empty_cell_has_nothing_to_sweep(cell: Cell) -> None:
    """And nothing is made."""
    assert await cell.scripts.sweep() == (0, 0, 0)
    assert [key async for key in cell.client.scan_iter(cell.keys.prefix + ":*")] == []


async def test_many_gateways_sweep_at_once_and_each_thing_happens_once(cell: Cell) -> None:
    """Ten of them: every late request expires once, the lost load is ordered once."""
    cell.scripts.now_ms = 1_000_000
    await cell.gateway()
    await cell.place(
        placing(), *[kept(timeout_ms=1, reply="gw1", ref=OTHER_REF) for _ in range(90)]
    )
    await cell.client.delete(cell.keys.load(REF))
    cell.scripts.now_ms += 1
    sweepers = [open_cell(cell.url, cell.name) for _ in range(10)]
    for own in sweepers:
        own.scripts.now_ms = cell.scripts.now_ms
    try:
        counts = await asyncio.gather(*(own.scripts.sweep() for own in sweepers))
    finally:
        for own in sweepers:
            await own.close()
    assert [sum(column) for column in zip(*counts, strict=True)] == [90, 1, 0]
    assert len(await cell.replies()) == 90


async def test_garbage_among_parked_requests_blocks_no_request(cell: Cell) -> None:
    """It ends as a dead letter; what was parked beside it is placed, or failed with the cause."""
    await cell.place(kept())
    await cell.client.xadd(cell.keys.parked(REF), {"foo": "bar"})
    await cell.worker("w1", holds=[REF])
    assert [e.fields["kind"] for e in await cell.stream(cell.keys.dead_letters)] == [b"entry"]
    assert len(await cell.read("w1")) == 1
    other = await cell.worker("w2")
    await cell.place(kept(ref=OTHER_REF))
    await cell.client.xadd(cell.keys.parked(OTHER_REF), {"foo": "bar"})
    token = await cell.claim("w2", other, OTHER_REF)
    assert await cell.scripts.fail_load("w2", OTHER_REF, token, b"corrupt x", 1, scope="model") == 0
    assert await cell.client.xlen(cell.keys.dead_letters) == 2


async def test_a_late_request_says_which_load_failed_before_the_one_it_waited_for(
    cell: Cell,
) -> None:
    """That cause is over, and the model is being loaded again: it is still why it took so long."""
    epoch = await cell.worker("w1")
    await cell.worker("w2")
    item = kept(timeout_ms=60_000)
    await cell.place(item)
    token = await cell.claim("w1", epoch, REF)
    await cell.scripts.fail_load("w1", REF, token, b"store_unavailable certificate expired", 50)
    assert await cell.scripts.cancel([Cancel(item.id, ref=REF, late=True)])
    record = await cell.record(item.id)
    assert record["outcome"].endswith(b"a load failed on worker w1: certificate expired")
