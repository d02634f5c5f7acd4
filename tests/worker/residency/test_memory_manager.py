"""Room for a newcomer: evicted for, reserved, corrected, and never over the budget."""

from __future__ import annotations

import asyncio

from tests.helpers.evicting import BUDGET, Model, hold, holders, own
from tests.helpers.factories import OTHER_REF, REF, manifest, work
from tests.helpers.wait import wait_until
from worker.residency.copies import Copy


async def test_room_is_made_by_retiring_draining_and_freeing(cell, parts, room) -> None:
    """The map forgets the copy before its memory goes; the newcomer's bytes are reserved."""
    old = await hold(parts, REF, 60)
    assert await room.made(OTHER_REF, own(60))
    assert (old.freed, await holders(cell, REF), parts.copies.get(REF)) == (True, 0, None)
    assert parts.ledger.used == 60


async def test_a_copy_in_use_is_freed_only_when_its_batch_has_ended(cell, parts, room) -> None:
    """It takes no new requests meanwhile."""
    old = await hold(parts, REF, 60)
    copy = parts.copies.acquire(REF)
    making = asyncio.create_task(room.made(OTHER_REF, own(60)))
    await wait_until(lambda: copy.retiring)
    await asyncio.sleep(0.05)
    assert not old.freed and not making.done()
    parts.copies.release(copy)
    assert await making
    assert old.freed


async def test_a_copy_with_requests_in_its_queue_waits_for_them(parts, room) -> None:
    """What was placed before it retired still runs."""
    old = await hold(parts, REF, 60)
    parts.batcher.put(work(ref=REF))
    making = asyncio.create_task(room.made(OTHER_REF, own(60)))
    await wait_until(lambda: parts.copies.all()[0].retiring)
    await asyncio.sleep(0.05)
    assert not old.freed
    parts.batcher.next(float("inf"))
    assert await making


async def test_what_can_never_fit_is_refused_and_nothing_is_evicted(parts, room) -> None:
    """The resident copy stays."""
    old = await hold(parts, REF, 60)
    assert not await room.made(OTHER_REF, own(BUDGET + 1))
    assert not old.freed and parts.ledger.used == 60


async def test_more_than_predicted_evicts_more(parts, room) -> None:
    """The measured size replaces the prediction, within the budget."""
    old = await hold(parts, REF, 60)
    assert await room.made(OTHER_REF, own(40))
    assert not old.freed
    assert await room.corrected(OTHER_REF, own(70))
    assert old.freed and parts.ledger.used == 70


async def test_a_measured_size_that_fits_evicts_nobody(parts, room) -> None:
    """It may also be less than predicted."""
    old = await hold(parts, REF, 60)
    assert await room.made(OTHER_REF, own(40))
    assert await room.corrected(OTHER_REF, own(10))
    assert not old.freed and parts.ledger.used == 70


async def test_a_measured_size_over_the_budget_is_refused(parts, room) -> None:
    """And its reservation is gone."""
    assert await room.made(OTHER_REF, own(40))
    assert not await room.corrected(OTHER_REF, own(BUDGET + 1))
    assert parts.ledger.used == 0


async def test_a_load_that_waits_for_room_does_not_hold_up_the_one_it_waits_for(
    parts, room
) -> None:
    """Two loads that together need more than there is: the first ends, is evicted, and the second
    has its room."""
    assert await room.made(REF, own(60))
    second = asyncio.create_task(room.made(OTHER_REF, own(60)))
    await asyncio.sleep(0.02)
    async with asyncio.timeout(20):
        assert await room.corrected(REF, own(60))
        parts.copies.add(Copy(REF, manifest(), Model(), own(60)))
        assert await second
    assert parts.ledger.used == 60


async def test_a_copy_that_is_larger_than_predicted_waits_with_its_reservation(parts, room) -> None:
    """Nothing can be evicted yet, and nobody else may take what it occupies already."""
    assert await room.made(REF, own(60))
    assert await room.made(OTHER_REF, own(30))
    growing = asyncio.create_task(room.corrected(OTHER_REF, own(50)))
    await asyncio.sleep(0.02)
    assert not growing.done() and parts.ledger.used == 90
    parts.ledger.release(REF)
    async with asyncio.timeout(20):
        assert await growing
    assert parts.ledger.used == 50


async def test_room_that_is_free_is_taken_without_evicting(parts, room) -> None:
    """Else it is refused, and nothing is reserved; so is a copy that proves larger."""
    old = await hold(parts, REF, 60)
    assert not await room.taken(OTHER_REF, own(50))
    assert await room.taken(OTHER_REF, own(30))
    assert parts.ledger.used == 90
    assert not await room.corrected(OTHER_REF, own(50), evict=False)
    assert not old.freed and parts.ledger.used == 60


async def test_a_correction_that_is_given_up_reserves_nothing(parts, room) -> None:
    """While another load has its turn."""
    assert await room.made(OTHER_REF, own(40))
    async with room._turn:
        correction = asyncio.create_task(room.corrected(OTHER_REF, own(10)))
        await asyncio.sleep(0.01)
        correction.cancel()
        await asyncio.gather(correction, return_exceptions=True)
    assert parts.ledger.used == 0
