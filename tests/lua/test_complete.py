"""complete.lua: the work entry is deleted and its outcome published, or neither (I8)."""

from __future__ import annotations

import asyncio

import pytest

from tests.helpers.cell import Cell, open_cell
from tests.helpers.factories import REF, kept, placing


async def running(cell: Cell, *items, worker: str = "w1"):
    """Requests that a worker has begun: its epoch and their entries."""
    epoch = await cell.worker(worker, holds=[REF])
    await cell.place(*items)
    entries = await cell.read(worker)
    await cell.begin(worker, epoch, entries)
    return epoch, entries


async def test_a_waiting_caller_gets_the_outcome(cell: Cell) -> None:
    """Its gateway gets status, worker, warmth and answer; the work entry and its start are gone."""
    await cell.gateway()
    item = placing()
    epoch, entries = await running(cell, item)
    assert await cell.complete("w1", epoch, entries, outcome=b"42") == [1]
    assert await cell.replies() == [
        {"id": item.id.encode(), "status": b"succeeded", "worker": b"w1", "cold": b"0",
         "outcome": b"42"}
    ]  # fmt: skip
    assert await cell.client.xlen(cell.keys.work("w1")) == 0
    assert (await cell.client.xpending(cell.keys.work("w1"), epoch))["pending"] == 0
    assert await cell.exists(cell.keys.started("w1"), cell.keys.request(item.id)) == []


@pytest.mark.parametrize("status", ["succeeded", "failed", "expired"])
async def test_a_kept_outcome_is_in_the_record_for_pollers(cell: Cell, status: str) -> None:
    """With a lifetime, no place any more, and out of the deadlines."""
    item = kept()
    epoch, entries = await running(cell, item)
    assert await cell.complete("w1", epoch, entries, status, b"42") == [1]
    record = await cell.record(item.id)
    assert record.items() >= {"status": status.encode(), "outcome": b"42", "cold": b"0"}.items()
    assert record.keys() & {"stream", "entry", "watchers"} == set()
    assert await cell.client.pttl(cell.keys.request(item.id)) > 0
    assert await cell.exists(cell.keys.deadlines) == []


async def test_a_parked_request_of_a_waiting_caller_leaves_no_record(cell: Cell) -> None:
    """Only the reply says that it was cold."""
    await cell.gateway()
    item = placing()
    await cell.place(item)
    epoch = await cell.worker("w1")
    await cell.scripts.announce("w1", epoch, REF, await cell.claim("w1", epoch), "device 1")
    assert await cell.complete("w1", epoch, await cell.read("w1")) == [1]
    assert [r["cold"] for r in await cell.replies()] == [b"1"]
    assert await cell.exists(cell.keys.request(item.id), cell.keys.deadlines) == []


async def test_every_subscriber_gets_one_reply(cell: Cell) -> None:
    """The gateway that placed it and watches it too gets one reply, the others one each."""
    for gateway in ("gw1", "gw2", "gw3"):
        await cell.gateway(gateway)
    item = kept(reply="gw1")
    epoch, entries = await running(cell, item)
    for gateway in ("gw1", "gw2", "gw2"):
        await cell.scripts.subscribe(item.id, gateway)
    await cell.complete("w1", epoch, entries)
    counts = [len(await cell.replies(g)) for g in ("gw1", "gw2", "gw3")]
    assert counts == [1, 1, 0]


async def test_a_dead_gateway_gets_no_stream(cell: Cell) -> None:
    """A reply to one that is gone makes no key that nobody would delete."""
    epoch, entries = await running(cell, placing(reply="gone"))
    await cell.client.delete(cell.keys.replies("gone"))
    assert await cell.complete("w1", epoch, entries) == [1]
    assert await cell.exists(cell.keys.replies("gone")) == []


async def test_a_streamed_request_goes_to_the_outbox(cell: Cell) -> None:
    """Once, by its id; the record keeps what to render and where to."""
    item = kept(reply_to="answers")
    epoch, entries = await running(cell, item)
    await cell.complete("w1", epoch, entries)
    outbox = await cell.stream(cell.keys.outbox)
    assert [e.fields for e in outbox] == [{"id": item.id.encode(), "to": b"answers"}]
    assert (await cell.record(item.id))["reply_to"] == b"answers"


async def test_a_repeated_call_changes_nothing(cell: Cell) -> None:
    """A commit whose answer was lost may be sent again: the first outcome stands."""
    await cell.gateway()
    item = kept(reply="gw1")
    epoch, entries = await running(cell, item)
    await cell.complete("w1", epoch, entries, outcome=b"first")
    assert await cell.complete("w1", epoch, entries, "failed", b"second") == [0]
    assert (await cell.record(item.id))["outcome"] == b"first"
    assert [r["outcome"] for r in await cell.replies()] == [b"first"]


async def test_items_are_committed_one_by_one(cell: Cell) -> None:
    """What was cancelled is not ours any more; its neighbours are."""
    items = [kept() for _ in range(4)]
    epoch, entries = await running(cell, *items)
    await cell.cancel(items[1].id)
    assert await cell.complete("w1", epoch, entries) == [1, 0, 1, 1]
    statuses = [(await cell.record(i.id))["status"] for i in items]
    assert statuses == [b"succeeded", b"cancelled", b"succeeded", b"succeeded"]


async def test_the_same_entry_twice_in_one_call_counts_once(cell: Cell) -> None:
    """The second finds nothing."""
    await cell.gateway()
    epoch, entries = await running(cell, placing())
    assert await cell.complete("w1", epoch, entries * 2) == [1, 0]
    assert len(await cell.replies()) == 1


async def test_a_worker_that_lost_its_lease_commits_nothing(cell: Cell) -> None:
    """Its requests were moved: their new entries are untouched."""
    await cell.gateway()
    item = placing()
    epoch, entries = await running(cell, item)
    await cell.client.zadd(cell.keys.workers, {"w1": 0})
    await cell.reap()
    assert await cell.complete("w1", epoch, entries) == [-1]
    assert await cell.replies() == []
    assert await cell.client.xlen(cell.keys.parked(REF)) == 1


async def test_of_two_that_complete_at_once_one_wins_each_request(cell: Cell) -> None:
    """A zombie beside its successor, over two connections: one outcome for each, never two."""
    await cell.gateway()
    epoch, entries = await running(cell, *[placing() for _ in range(200)])
    other = open_cell(cell.url, cell.name)
    try:
        pairs = [
            asyncio.gather(
                cell.complete("w1", epoch, [entry], outcome=b"mine"),
                other.complete("w1", epoch, [entry], outcome=b"theirs"),
            )
            for entry in entries
        ]
        won = await asyncio.gather(*pairs)
    finally:
        await other.close()
    assert all(sorted(pair) == [[0], [1]] for pair in won)
    assert len(await cell.replies()) == len(entries)


async def test_without_outcomes_it_answers_and_changes_nothing(cell: Cell) -> None:
    """So a worker finds out whether its line is well: over it, and under any epoch."""
    epoch, entries = await running(cell, placing())
    assert await cell.complete("w1", epoch, []) == []
    assert await cell.complete("w1", "another", []) == [-1]
    assert await cell.complete("w1", epoch, entries) == [1]
