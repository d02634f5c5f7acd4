"""The quarantine of a model version that crashes workers: open, half open, closed."""

from __future__ import annotations

import pytest

from tests.helpers.cell import MAX_ATTEMPTS, Cell
from tests.helpers.factories import OTHER_REF, REF, kept, placing

CRASHES, FIRST_MS = 5, 10_000


async def crash(cell: Cell, times: int = CRASHES) -> None:
    """Device processes die while they load REF."""
    for _ in range(times):
        epoch = await cell.worker("bad")
        await cell.place(kept(timeout_ms=3_600_000))
        await cell.claim("bad", epoch)
        await cell.scripts.fence_worker("bad", epoch, 0, "was killed by SIGSEGV", MAX_ATTEMPTS)


@pytest.fixture
async def open_cell(cell: Cell) -> Cell:
    """A cell where REF has just been quarantined."""
    cell.scripts.now_ms = 1_000_000
    await crash(cell)
    return cell


async def test_fewer_crashes_change_nothing(cell: Cell) -> None:
    """One killer among many requests is a dead letter, not the model's fault."""
    await crash(cell, CRASHES - 1)
    (placed,) = await cell.place(placing())
    assert placed.status == "parked"


async def test_new_requests_get_the_cause_and_when_to_retry(open_cell: Cell) -> None:
    """Those for another model are not."""
    refused, other = await open_cell.place(placing(), placing(ref=OTHER_REF))
    assert refused.status == "quarantined" and other.status == "parked"
    assert refused.detail.startswith("quarantined this model version crashed workers 5 times")
    assert refused.detail.endswith("was killed by SIGSEGV")
    assert refused.retry_ms == FIRST_MS


async def test_what_was_accepted_waits_and_nothing_is_loaded(open_cell: Cell) -> None:
    """It keeps its place; no order is written for it until the back-off is over."""
    cell = open_cell
    assert await cell.client.xlen(cell.keys.parked(REF)) == CRASHES
    assert await cell.token() == ""
    assert await cell.scripts.sweep() == (0, 0, 0)
    assert await cell.token() == ""
    cell.scripts.now_ms = 1_000_000 + FIRST_MS
    assert await cell.scripts.sweep() == (0, 1, 0)
    assert await cell.token() != ""


async def test_one_request_at_a_time_is_let_through_to_try(open_cell: Cell) -> None:
    """Of those that are parked, and of new ones."""
    cell = open_cell
    cell.scripts.now_ms = 1_000_000 + FIRST_MS
    await cell.scripts.sweep()
    epoch = await cell.worker("w1")
    token = await cell.claim("w1", epoch)
    assert await cell.scripts.announce("w1", epoch, REF, token, "device 1") == 0
    assert len(await cell.read("w1")) == 1
    assert await cell.client.xlen(cell.keys.parked(REF)) == CRASHES - 1
    assert [p.status for p in await cell.place(placing())] == ["quarantined"]
    assert await cell.scripts.sweep() == (0, 0, 0)


async def test_a_success_closes_it_and_the_rest_goes_on(open_cell: Cell) -> None:
    """The next sweep places what was parked."""
    cell = open_cell
    cell.scripts.now_ms = 1_000_000 + FIRST_MS
    epoch = await cell.worker("w1", holds=[REF])
    assert await cell.complete("w1", epoch, await cell.read("w1")) == [1]
    assert await cell.exists(cell.keys.breaker(REF)) == []
    assert [p.status for p in await cell.place(placing())] == ["placed"]
    assert (await cell.scripts.sweep())[2] == CRASHES - 1


async def test_a_failure_without_a_crash_proves_nothing(open_cell: Cell) -> None:
    """Another one may try."""
    cell = open_cell
    cell.scripts.now_ms = 1_000_000 + FIRST_MS
    await cell.client.delete(cell.keys.parked(REF))
    epoch = await cell.worker("w1", holds=[REF], lease_ms=60_000)
    assert [p.status for p in await cell.place(placing(), placing())] == ["placed", "quarantined"]
    await cell.complete("w1", epoch, await cell.read("w1"), "failed", b"model_failed no")
    assert [p.status for p in await cell.place(placing(), placing())] == ["placed", "quarantined"]
    cell.scripts.now_ms += 30_000  # it was never heard of again
    assert [p.status for p in await cell.place(placing())] == ["placed"]


async def test_another_crash_opens_it_for_twice_as_long(open_cell: Cell) -> None:
    """Up to ten minutes."""
    cell = open_cell
    await cell.client.delete(cell.keys.parked(REF))
    waits = []
    for _ in range(8):
        epoch = await cell.worker("w1", holds=[REF])
        (refused,) = await cell.place(placing())
        waits.append(refused.retry_ms)
        cell.scripts.now_ms = (cell.scripts.now_ms or 0) + refused.retry_ms
        epoch = await cell.worker("w1", holds=[REF])
        await cell.place(placing())
        await cell.begin("w1", epoch, await cell.read("w1"), batch=1)
        await cell.scripts.fence_worker("w1", epoch, 1, "was killed by SIGSEGV", MAX_ATTEMPTS)
        await cell.client.delete(cell.keys.parked(REF))
    assert waits == [min(FIRST_MS * 2**n, 600_000) for n in range(8)]


async def test_a_refused_request_tries_nothing(open_cell: Cell) -> None:
    """The next one that is accepted does."""
    cell = open_cell
    cell.scripts.now_ms = 1_000_000 + FIRST_MS
    await cell.client.delete(cell.keys.parked(REF))
    await cell.client.set(cell.keys.unloadable(REF), "corrupt x", px=1000)
    assert [p.status for p in await cell.place(placing())] == ["unloadable"]
    await cell.client.delete(cell.keys.unloadable(REF))
    assert [p.status for p in await cell.place(placing())] == ["parked"]


async def test_a_parked_request_tries_nothing_until_it_is_placed(open_cell: Cell) -> None:
    """Nobody holds the model: the first that comes has it loaded, and is then let through."""
    cell = open_cell
    cell.scripts.now_ms = 1_000_000 + FIRST_MS
    await cell.client.delete(cell.keys.parked(REF))
    rows = await cell.place(placing(), placing())
    assert [row.status for row in rows] == ["parked", "parked"]
    epoch = await cell.worker("w1")
    await cell.scripts.announce("w1", epoch, REF, await cell.claim("w1", epoch), "device 1")
    assert len(await cell.read("w1")) == 1
    assert await cell.client.xlen(cell.keys.parked(REF)) == 1
