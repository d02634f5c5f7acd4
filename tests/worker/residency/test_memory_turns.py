"""Newcomers beside each other, beside evictions that others began, and beside pins."""

from __future__ import annotations

import asyncio

import pytest

from shared import clock
from tests.helpers.cell import Cell
from tests.helpers.evicting import Rooms, hold, holders, own
from tests.helpers.factories import OTHER_REF, REF
from tests.helpers.wait import wait_until
from worker.residency.context import WorkerContext
from worker.residency.copies import Copy
from worker.residency.evictor import Evictor
from worker.residency.outcome import FREED, Stays
from worker.residency.projection import LoadCandidate

NEW = "clip:1:111111111111"


async def test_nobody_is_evicted_in_vain_beside_a_session(
    cell: Cell, parts: WorkerContext, room: Rooms
) -> None:
    """That one of two must stay is learned from the map: then the other stays too."""
    idle, wanted = await hold(parts, OTHER_REF, 50), await hold(parts, REF, 50)
    parts.copies.get(OTHER_REF).last_used -= 100
    await cell.client.sadd(cell.keys.pinned(REF), "s1")
    making = asyncio.create_task(room.made(NEW, own(100)))
    begun = clock.monotonic()
    await wait_until(lambda: parts.copies.get(REF).stays_until > begun)
    await making
    assert not idle.freed and not wanted.freed
    assert await holders(cell, OTHER_REF) == await holders(cell, REF) == 1
    assert not any(copy.retiring for copy in parts.copies.all())
    await cell.client.delete(cell.keys.pinned(REF))


async def test_what_is_only_pinned_refuses_at_once(parts: WorkerContext, room: Rooms) -> None:
    """Another worker may have room: nobody waits here."""
    await hold(parts, REF, 60)
    parts.copies.get(REF).in_session = True
    refused = await room.reserve(LoadCandidate(NEW, own(60)))
    assert isinstance(refused, Stays) and refused.stuck and not refused.never


async def test_who_waits_in_vain_gives_up(parts: WorkerContext, room: Rooms, monkeypatch) -> None:
    """So that another worker may take the load."""
    monkeypatch.setattr("worker.residency.memory_manager.LONGEST_S", 0.05)
    parts.ledger.reserve(REF, own(60))  # it loads, and never ends
    refused = await room.reserve(LoadCandidate(NEW, own(60)))
    assert refused is not None and not refused.never
    assert parts.ledger.used == 60


async def test_a_copy_that_begins_to_leave_beside_the_plan(
    parts: WorkerContext, room: Rooms, evictor: Evictor
) -> None:
    """An unload and a newcomer choose the same copy in one turn of the loop."""
    await hold(parts, REF, 100)
    making = asyncio.create_task(room.made(NEW, own(60)))
    unload = asyncio.create_task(evictor.evict(REF, "the API asked for it"))
    assert await making
    assert await unload == FREED
    assert parts.ledger.used == 60


async def test_who_fits_does_not_wait_while_another_drains(
    parts: WorkerContext, room: Rooms
) -> None:
    """Nor does a load that has ended and is measured."""
    await hold(parts, REF, 60)
    copy = parts.copies.acquire(REF)
    large = asyncio.create_task(room.made(NEW, own(60)))
    await wait_until(lambda: copy.retiring)
    async with asyncio.timeout(20):
        assert await room.made(OTHER_REF, own(10))
        assert await room.corrected(OTHER_REF, own(20))
    assert not large.done()
    parts.copies.release(copy)
    assert await large
    assert parts.ledger.used == 80


async def test_a_newcomer_that_is_given_up_while_another_drains_leaves_nothing(
    parts: WorkerContext, room: Rooms
) -> None:
    """The eviction ends all the same, and nothing is reserved."""
    old = await hold(parts, REF, 60)
    copy: Copy = parts.copies.acquire(REF)
    making = asyncio.create_task(room.made(NEW, own(60)))
    await wait_until(lambda: copy.retiring)
    making.cancel()
    await asyncio.gather(making, return_exceptions=True)
    parts.copies.release(copy)
    await wait_until(lambda: old.freed)
    await wait_until(lambda: parts.ledger.used == 0)


async def test_nobody_else_goes_while_what_is_enough_drains(
    parts: WorkerContext, room: Rooms
) -> None:
    """Neither for a copy that proved larger, nor for a newcomer that it would be enough for."""
    await hold(parts, REF, 40)
    await hold(parts, OTHER_REF, 40)
    copies = [parts.copies.acquire(ref) for ref in (REF, OTHER_REF)]
    parts.ledger.reserve(NEW, own(10))
    growing = asyncio.create_task(room.corrected(NEW, own(25)))
    await wait_until(lambda: any(copy.retiring for copy in copies))
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert [copy.retiring for copy in copies].count(True) == 1
    for copy in copies:
        parts.copies.release(copy)
    assert await growing
    assert parts.ledger.used == 65


async def test_a_copy_whose_unloading_fails_is_gone_all_the_same(
    parts: WorkerContext, room: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes are free, and it may be loaded again."""
    model = await hold(parts, REF, 60)

    def fails() -> None:
        raise RuntimeError("a runtime's own fault")

    monkeypatch.setattr(model, "unload", fails)
    assert await room.made(NEW, own(60))
    assert parts.ledger.used == 60 and parts.copies.get(REF) is None


async def test_a_budget_that_workers_of_the_host_divide_again(
    parts: WorkerContext, room: Rooms
) -> None:
    """One that comes takes its part: idle copies leave by an ordinary eviction, and shares of the
    whole are of the new one. What is in use stays until it is idle, and nothing more is booked."""
    idle, busy = await hold(parts, OTHER_REF, 40), await hold(parts, REF, 50)
    parts.copies.get(REF).running = 1
    await room.resize(45)
    assert idle.freed and not busy.freed
    assert (parts.ledger.used, parts.ledger.budget, parts.ledger.whole) == (50, 45, 45)
    assert not room.fits(own(1))
    parts.copies.get(REF).running = 0
    await room.resize(45)
    assert busy.freed and parts.ledger.used == 0
    await room.resize(100)
    assert parts.ledger.whole == 100 and room.fits(own(100))
