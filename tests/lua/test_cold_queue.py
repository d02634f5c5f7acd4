"""The cold queue: who waits longest is first, whatever happens on the way; nothing stays in it."""

from __future__ import annotations

import json

from shared.placed import Limits
from shared.script_runner import CHUNK
from tests.helpers.cell import LEASE_MS, Cell
from tests.helpers.factories import OTHER_REF, REF, placing

LONG = 1200  # ids; a shorter list is tidied at once
MANY = Limits(work=2000, parked=2000, pending=2000)


def refs(count: int) -> list[str]:
    return [f"m{n}:1:0123456789ab" for n in range(count)]


async def waiting(cell: Cell) -> list[str]:
    """The models whose orders wait in the list, the first first."""
    found = []
    for order in await cell.orders():
        data = await cell.client.hget(cell.keys.rq_job(order), "data")
        if data:
            ref, token = json.loads(data)[2]
            found += [ref] * (await cell.token(ref) == token)
    return found


async def test_an_order_waits_for_as_long_as_its_requests(cell: Cell) -> None:
    """No sweep has to look at it in time: ten thousand models may wait, and a sweep sees 128."""
    await cell.place(placing())
    assert await cell.client.pttl(cell.keys.load(REF)) > 3_000_000
    assert await cell.client.zrange(cell.keys.waiting_orders, 0, -1) == [REF.encode()]


async def test_an_order_that_was_taken_and_not_claimed_comes_first_again(cell: Cell) -> None:
    """Its worker died with it; it keeps its place before those that came later."""
    cell.scripts.now_ms = 1_000_000
    for ref in refs(4):
        cell.scripts.now_ms += 1
        await cell.place(placing(ref=ref))
    for _ in range(2):
        await cell.client.lpop(cell.keys.rq_queue())
    assert await cell.scripts.sweep() == (0, 0, 0)
    for ref in refs(2):  # it is claimed within a moment, or never
        assert await cell.client.pttl(cell.keys.load(ref)) <= 1000
        await cell.client.delete(cell.keys.load(ref))
    assert await cell.scripts.sweep() == (0, 2, 0)
    assert await waiting(cell) == refs(4)


async def test_an_order_that_was_refused_comes_first_again(cell: Cell) -> None:
    """Another worker can have it at once; behind a long queue its requests would expire."""
    cell.scripts.now_ms = 1_000_000
    epoch = await cell.worker("w1")
    await cell.worker("w2")
    for ref in refs(3):
        cell.scripts.now_ms += 1
        await cell.place(placing(ref=ref))
    token = await cell.claim("w1", epoch, refs(1)[0])
    assert await cell.scripts.refuse_load("w1", refs(1)[0], token) == "ordered"
    assert await waiting(cell) == refs(3)


async def test_the_queue_is_empty_when_nothing_waits(cell: Cell) -> None:
    """Also when leases were lost on the way: an autoscaler looks at its length."""
    cell.scripts.now_ms = 1_000_000
    await cell.place(*[placing(ref=ref, timeout_ms=50) for ref in refs(200)])
    for ref in refs(200):
        await cell.client.delete(cell.keys.load(ref))
    await cell.scripts.sweep()
    cell.scripts.now_ms += 50
    for _ in range(2000 // CHUNK):  # a request that ends counts four, a lost order one
        await cell.scripts.sweep()
    assert await cell.exists(
        cell.keys.rq_queue(), cell.keys.waiting_orders, cell.keys.parked_refs
    ) == []  # fmt: skip
    jobs = [key async for key in cell.client.scan_iter(cell.keys.rq_job("*"))]
    assert jobs == []


async def test_a_long_list_of_which_most_has_gone_is_written_anew(cell: Cell) -> None:
    """In parts, in its order; what is ordered meanwhile comes after it."""
    cell.scripts.now_ms = 1_000_000
    await cell.place(placing())
    await cell.place(*[placing(ref=ref) for ref in refs(LONG)], limits=MANY)
    items = [placing(ref=ref) for ref in (OTHER_REF, "late:1:0123456789ab")]
    await cell.place(items[0], limits=MANY)
    for ref in refs(LONG):  # as a cancelled request leaves it
        await cell.client.delete(cell.keys.load(ref), cell.keys.parked(ref))
        await cell.client.srem(cell.keys.parked_refs, ref)
        await cell.client.zrem(cell.keys.waiting_orders, ref)
    await cell.scripts.sweep()
    await cell.place(items[1], limits=MANY)
    for _ in range(LONG // CHUNK):
        await cell.scripts.sweep()
    assert await waiting(cell) == [REF, OTHER_REF, "late:1:0123456789ab"]
    assert len(await cell.orders()) == 3
    assert await cell.exists(f"{cell.keys.rq_queue()}.rest") == []


async def test_an_order_of_an_older_release_is_taken_as_it_is(cell: Cell) -> None:
    """It is in no index: while it is the head nothing is thought to be taken."""
    await cell.place(placing())
    await cell.client.delete(cell.keys.waiting_orders)
    await cell.place(placing(ref=OTHER_REF))
    assert await cell.scripts.sweep() == (0, 0, 0)
    assert await waiting(cell) == [REF, OTHER_REF]
    epoch = await cell.worker("w1")
    token = await cell.token()
    assert await cell.scripts.claim_load("w1", epoch, REF, token, LEASE_MS) == "claimed"
    assert await waiting(cell) == [OTHER_REF]
