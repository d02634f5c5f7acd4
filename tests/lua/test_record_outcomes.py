"""lib/outcomes.lua: every failure is written down once, and its end can be asked for by id."""

from __future__ import annotations

import pytest

from tests.helpers.cell import MAX_ATTEMPTS, Cell
from tests.helpers.factories import REF, kept, placing, request_id
from tests.lua.test_complete import running

HOUR_MS, TURN_MS = 3_600_000, 1_200_000


async def failures(cell: Cell) -> list[dict[str, bytes]]:
    """What is to be logged."""
    return [entry.fields for entry in await cell.stream(cell.keys.failures)]


@pytest.mark.parametrize("status", ["failed", "expired"])
@pytest.mark.parametrize("make", [placing, kept], ids=["waits", "polls"])
async def test_a_failure_is_written_down_once(cell: Cell, make, status: str) -> None:
    """With the text in full; a repeated commit writes nothing."""
    await cell.gateway()
    item = make()
    epoch, entries = await running(cell, item)
    for _ in range(2):
        await cell.complete("w1", epoch, entries, status, b"model_failed oh", cause=b"oh\nno")
    assert await failures(cell) == [
        {"id": item.id.encode(), "model": REF.encode(), "worker": b"w1",
         "outcome": b"model_failed oh", "cause": b"oh\nno"}
    ]  # fmt: skip


@pytest.mark.parametrize("make", [placing, kept], ids=["waits", "polls"])
async def test_a_success_or_a_cancel_is_not_a_failure(cell: Cell, make) -> None:
    """Neither is written down."""
    items = [make(), make()]
    epoch, entries = await running(cell, *items)
    await cell.complete("w1", epoch, entries[:1])
    await cell.cancel(items[1].id, cell.keys.work("w1"), entries[1].entry.decode())
    assert await failures(cell) == []
    assert await cell.client.exists(cell.keys.newest_outcomes) == 0


async def test_a_gateway_that_is_gone_loses_no_line(cell: Cell) -> None:
    """Nobody hears of the outcome, but it is written down."""
    epoch, entries = await running(cell, placing(reply="gone"))
    await cell.client.delete(cell.keys.replies("gone"))
    await cell.complete("w1", epoch, entries, "failed", b"model_failed oh")
    assert len(await failures(cell)) == 1


async def test_the_outcome_of_a_waiting_request_can_be_read(cell: Cell) -> None:
    """Status, worker, model, code and text; who polls has a record instead."""
    waited, polled = placing(), kept()
    epoch, entries = await running(cell, waited, polled)
    await cell.complete("w1", epoch, entries, "failed", b"model_failed oh no")
    text = (await cell.scripts.subscribe(waited.id, "gw1"))["ended"]
    assert text == f"failed w1 0 {REF} model_failed oh no".encode()
    assert (await cell.scripts.subscribe(polled.id, ""))["status"] == b"failed"
    kinds = [key async for key in cell.client.scan_iter(cell.keys.outcomes("*"))]
    assert [await cell.client.hlen(kind) for kind in kinds] == [1]


async def test_an_end_is_kept_for_an_hour(cell: Cell) -> None:
    """And not for ever, whatever comes after it."""
    first = request_id()
    await cell.scripts.record_outcomes(100, [first, f"succeeded w1 0 {REF} "])
    (key,) = [key async for key in cell.client.scan_iter(cell.keys.outcomes("*"))]
    assert HOUR_MS < await cell.client.pttl(key) <= HOUR_MS + TURN_MS
    await cell.client.pexpire(key, 7)
    await cell.scripts.record_outcomes(100, [request_id(), f"succeeded w1 0 {REF} "])
    assert 0 <= await cell.client.pttl(key) <= 7 or not await cell.client.exists(key)


async def test_of_many_the_newest_are_kept(cell: Cell) -> None:
    """Three quarters of the most at least, never more than that."""
    ids = [request_id() for _ in range(1000)]
    for id in ids:
        await cell.scripts.record_outcomes(100, [id, f"succeeded w1 0 {REF} "])
    known = [bool(await cell.scripts.subscribe(id, "")) for id in ids]
    assert 75 <= sum(known) <= 100
    assert known == sorted(known)
    keys = [key async for key in cell.client.scan_iter(cell.keys.outcomes("*"))]
    assert sum([await cell.client.hlen(key) for key in keys]) <= 100


@pytest.mark.parametrize("parked", [True, False])
async def test_a_request_reported_as_late_ends_as_expired(cell: Cell, parked: bool) -> None:
    """With what it waited for; the answer is the outcome, and it is written down once."""
    await cell.worker("w1", holds=[] if parked else [REF])
    item = placing()
    (placed,) = await cell.place(item)
    where = ("", "") if parked else (cell.keys.work("w1"), placed.entry)
    said = await cell.cancel(item.id, *where, late=True)
    assert said == "expired the deadline passed: " + (
        "a load of its model was ordered, and no worker has started it"
        if parked
        else "it was placed on worker w1"
    )
    assert await cell.cancel(item.id, *where, late=True) == "expired"
    (row,) = await failures(cell)
    assert row["outcome"] == said.encode()
    assert row["worker"] == (b"" if parked else b"w1")


async def test_why_a_request_was_late_is_said(cell: Cell) -> None:
    """No worker; a load that failed; a load under way."""
    items = [kept(timeout_ms=1) for _ in range(3)]
    cell.scripts.now_ms = 1_000_000
    await cell.place(items[0])
    cell.scripts.now_ms += 10
    await cell.scripts.sweep()
    epoch = await cell.worker("w1")
    await cell.place(items[1])
    await cell.claim("w1", epoch)
    cell.scripts.now_ms += 10
    await cell.scripts.sweep()
    await cell.place(items[2])
    token = await cell.token()
    await cell.scripts.fail_load("w1", REF, token, b"disk_full no room", 60_000, True)
    cell.scripts.now_ms += 10
    await cell.scripts.sweep()
    said = [row["outcome"].decode().partition(": ")[2] for row in await failures(cell)]
    assert said == [
        "no worker is alive",
        "worker w1 was loading its model",
        "the last load of its model failed: no room",
    ]


async def test_a_request_that_killed_its_workers_is_written_down(cell: Cell) -> None:
    """By whoever finds out, once."""
    item = placing()
    for worker in ("w1", "w2", "w3"):
        epoch, _ = await running(cell, *([item] if worker == "w1" else []), worker=worker)
        await cell.scripts.sweep()
        entries = await cell.read(worker)
        if entries:
            await cell.begin(worker, epoch, entries)
        await cell.scripts.fence_worker(worker, epoch, 1, "signal 11", MAX_ATTEMPTS)
    rows = await failures(cell)
    assert [row["outcome"].partition(b" ")[0] for row in rows] == [b"dead_lettered"]
    assert rows[0]["worker"] == b"w3"
