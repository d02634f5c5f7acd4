"""A script's work is bounded in all, over models and requests; an order counts as several."""

from __future__ import annotations

from shared.scripts import CHUNK
from tests.helpers.cell import Cell
from tests.helpers.factories import REF, placing
from tests.lua.fleet import NOW_MS, lease, worker

ORDER_UNITS = 12


async def test_one_call_places_no_more_than_its_budget_over_all_models(cell: Cell) -> None:
    """Many models with many parked requests each were as many calls of `place` in one step."""
    refs = [f"m{n}:1:0123456789ab" for n in range(4)]
    await cell.place(*[placing(ref=ref) for ref in refs for _ in range(100)])
    for ref in refs:
        await cell.client.delete(cell.keys.load(ref))
    epoch = await cell.worker("w1")
    for ref in refs:  # as an announcement does that died before its first chunk
        await cell.client.hset(cell.keys.holders(ref), "w1", "device 1 0")
        await cell.client.sadd(cell.keys.holds("w1"), ref)
    assert epoch
    placed = []
    while any([await cell.client.xlen(cell.keys.parked(ref)) for ref in refs]):
        placed.append((await cell.scripts.sweep())[2])
    assert max(placed) <= CHUNK
    assert sum(placed) == 400


async def test_one_call_orders_few_loads(cell: Cell) -> None:
    """After a herd whose leases were lost: an order costs as much as several requests."""
    refs = [f"m{n}:1:0123456789ab" for n in range(40)]
    await cell.worker("w1")
    await cell.place(*[placing(ref=ref) for ref in refs])
    for ref in refs:
        await cell.client.delete(cell.keys.load(ref))
    ordered = []
    while sum(ordered) < len(refs):
        ordered.append((await cell.scripts.sweep())[1])
    assert max(ordered) <= CHUNK // ORDER_UNITS + 1


async def test_a_copy_that_is_ordered_counts_while_what_was_parked_is_placed(cell: Cell) -> None:
    """As several requests: one call does no more than its budget of both."""
    cell.scripts.now_ms = NOW_MS
    await cell.place(*[placing() for _ in range(CHUNK)])
    await cell.client.delete(cell.keys.load(REF))
    await worker(cell, "w1", service_ms=1000, busy_share=1)
    await worker(cell, "w2")
    await cell.client.hset(cell.keys.holders(REF), "w1", "device 1 0")
    await cell.client.sadd(cell.keys.holds("w1"), REF)
    _, _, placed = await cell.scripts.sweep()
    assert (await lease(cell))["extra"] == "scale_out"
    assert 0 < placed <= CHUNK - ORDER_UNITS


async def test_one_call_looks_for_further_copies_of_few_models(cell: Cell) -> None:
    """In a busy cell each model of a call asks; who was not looked at is in the next call."""
    cell.scripts.now_ms = NOW_MS
    refs = [f"m{n}:1:0123456789ab" for n in range(40)]
    await worker(cell, "w1", holds=refs, service_ms=1000, busy_share=1)
    await worker(cell, "w2", holds=["other:1:0123456789ab"], service_ms=1000, busy_share=1)
    looked = []
    for _ in range(2):
        await cell.place(*[placing(ref=ref) for ref in refs for _ in range(5)])
        looked.append(len(await cell.exists(*[cell.keys.no_capacity(ref) for ref in refs])))
    assert looked == [32, 40]
