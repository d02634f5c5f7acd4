"""cancel.lua: a request is taken back, wherever it waits or runs, unless it has ended."""

from __future__ import annotations

import asyncio

from tests.helpers.cell import Cell, open_cell
from tests.helpers.factories import REF, kept, placing


async def test_a_placed_request_is_taken_off_the_work_stream(cell: Cell) -> None:
    """Its record says so, its deadline is forgotten, whoever waits is told."""
    await cell.gateway()
    await cell.worker("w1", holds=[REF])
    item = kept(reply="gw1")
    await cell.place(item)
    await cell.read("w1")
    assert await cell.cancel(item.id) == "cancelled"
    assert await cell.client.xlen(cell.keys.work("w1")) == 0
    assert (await cell.client.xpending(cell.keys.work("w1"), await cell.epoch("w1")))[
        "pending"
    ] == 0
    record = await cell.record(item.id)
    assert record["status"] == b"cancelled"
    assert record["outcome"] == b"cancelled the caller cancelled the request"
    assert [r["status"] for r in await cell.replies()] == [b"cancelled"]
    assert await cell.exists(cell.keys.deadlines) == []


async def test_a_parked_request_is_taken_out(cell: Cell) -> None:
    """Nobody is left who waits: the load that was ordered for it is taken off the queue."""
    item = kept()
    await cell.place(item)
    assert await cell.cancel(item.id) == "cancelled"
    assert await cell.client.xlen(cell.keys.parked(REF)) == 0
    assert await cell.orders() == []
    assert await cell.exists(cell.keys.load(REF), cell.keys.parked_refs) == []


async def test_after_a_cancel_no_outcome_is_published(cell: Cell) -> None:
    """Even if the request was running: the cancel is final."""
    await cell.gateway()
    epoch = await cell.worker("w1", holds=[REF])
    item = kept(reply="gw1")
    await cell.place(item)
    entries = await cell.read("w1")
    await cell.begin("w1", epoch, entries)
    await cell.cancel(item.id)
    assert await cell.complete("w1", epoch, entries) == [0]
    assert [r["status"] for r in await cell.replies()] == [b"cancelled"]
    assert (await cell.record(item.id))["status"] == b"cancelled"
    assert await cell.exists(cell.keys.started("w1")) == []


async def test_an_ended_request_keeps_its_outcome(cell: Cell) -> None:
    """The caller is told which terminal state it has."""
    epoch = await cell.worker("w1", holds=[REF])
    item = kept()
    await cell.place(item)
    await cell.complete("w1", epoch, await cell.read("w1"), outcome=b"42")
    assert await cell.cancel(item.id) == "succeeded"
    assert (await cell.record(item.id))["outcome"] == b"42"


async def test_cancelling_twice_says_cancelled_already(cell: Cell) -> None:
    """The second answer is the terminal status, which happens to be the same word."""
    item = kept()
    await cell.place(item)
    assert await cell.cancel(item.id) == "cancelled"
    assert await cell.cancel(item.id) == "cancelled"
    assert len(await cell.stream(cell.keys.parked(REF))) == 0


async def test_an_unknown_request_is_unknown(cell: Cell) -> None:
    """Without a place, or with one where nothing lies."""
    await cell.worker("w1", holds=[REF])
    assert await cell.cancel("f" * 32) == "unknown"
    assert await cell.cancel("f" * 32, cell.keys.work("w1"), "1-1") == "unknown"


async def test_a_request_without_a_record_is_cancelled_by_its_place(cell: Cell) -> None:
    """The gateway that waits for it knows where it was placed. Nobody is told: it is the caller."""
    await cell.gateway()
    await cell.worker("w1", holds=[REF])
    item = placing()
    (placed,) = await cell.place(item)
    stream = cell.keys.work("w1")
    assert await cell.cancel(item.id, stream, placed.entry) == "cancelled"
    assert await cell.cancel(item.id, stream, placed.entry) == "unknown"
    assert await cell.client.xlen(stream) == 0
    assert await cell.replies() == []


async def test_the_record_wins_over_the_place_that_the_gateway_remembers(cell: Cell) -> None:
    """A waiting request that was moved when its worker died is found where it lives now."""
    await cell.worker("w1", holds=[REF])
    item = placing()
    (placed,) = await cell.place(item)
    await cell.client.zadd(cell.keys.workers, {"w1": 0})
    await cell.reap()
    assert await cell.client.xlen(cell.keys.parked(REF)) == 1
    assert await cell.cancel(item.id, cell.keys.work("w1"), placed.entry) == "cancelled"
    assert await cell.client.xlen(cell.keys.parked(REF)) == 0


async def test_cancel_and_complete_at_once_leave_one_outcome(cell: Cell) -> None:
    """Over two connections, many times: who deleted the entry has the say, and both sides know."""
    epoch = await cell.worker("w1", holds=[REF])
    items = [kept() for _ in range(200)]
    await cell.place(*items)
    entries = await cell.read("w1")
    other = open_cell(cell.url, cell.name)
    try:
        answers = await asyncio.gather(*(
            asyncio.gather(cell.complete("w1", epoch, [entry]), other.cancel(item.id))
            for item, entry in zip(items, entries, strict=True)
        ))  # fmt: skip
    finally:
        await other.close()
    for item, (won, cancelled) in zip(items, answers, strict=True):
        status = (await cell.record(item.id))["status"].decode()
        assert status == cancelled
        assert (won == [1]) == (status == "succeeded")
