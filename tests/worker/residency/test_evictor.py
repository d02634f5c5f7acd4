"""One copy goes: retire, drain, free, in that order."""

from __future__ import annotations

import asyncio

import pytest

from shared import clock, retry
from shared.errors import Unavailable
from tests.helpers.cell import Cell
from tests.helpers.evicting import hold, holders, made_evictor, own
from tests.helpers.factories import OTHER_REF, REF
from tests.helpers.wait import wait_until
from worker.parts import Parts


async def test_a_retirement_that_redis_does_not_answer_is_repeated(
    cell, parts, evictor, monkeypatch
) -> None:
    """Nothing is freed before the map has forgotten the copy."""
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.001)
    old, failures = await hold(parts, REF, 60), [Unavailable("no answer")] * 3
    retire = cell.scripts.retire

    async def unreliable(*args: object) -> str:
        if failures:
            raise failures.pop()
        assert not old.freed
        return await retire(*args)

    monkeypatch.setattr(cell.scripts, "retire", unreliable)
    await evictor.evict(REF, "room for another")
    assert old.freed and failures == [] and await holders(cell, REF) == 0


async def test_who_loads_a_model_again_waits_until_it_is_freed(parts, evictor) -> None:
    """A copy on its way out is not mistaken for one that is there."""
    await hold(parts, REF, 60)
    copy = parts.copies.hold(REF)
    leaving = asyncio.create_task(evictor.evict(REF, "room for another"))
    await wait_until(lambda: copy.retiring)
    waiting = asyncio.create_task(evictor.until_freed(REF))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    parts.copies.let_go(copy)
    await asyncio.gather(leaving, waiting)
    assert parts.copies.get(REF) is None and parts.ledger.used == 0


async def test_a_load_that_is_given_up_leaves_no_copy_half_evicted(parts, room) -> None:
    """Its lease was lost while it made room: the eviction ends, and nothing stays reserved."""
    old = await hold(parts, REF, 60)
    copy = parts.copies.hold(REF)
    making = asyncio.create_task(room.made(OTHER_REF, own(60)))
    await wait_until(lambda: copy.retiring)
    making.cancel()
    await asyncio.gather(making, return_exceptions=True)
    parts.copies.let_go(copy)
    await wait_until(lambda: parts.copies.get(REF) is None)
    assert old.freed and parts.ledger.used == 0


async def test_a_read_from_before_it_was_retired_proves_nothing(
    cell: Cell, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis was away for a while: until it answered, requests were still placed on the copy."""
    times: list[float] = []
    retire = parts.scripts.retire

    async def note(*args: object) -> str:
        return (await retire(*args), times.append(clock.monotonic()))[0]

    await hold(parts, REF, 60)
    monkeypatch.setattr(parts.scripts, "retire", note)
    evictor = made_evictor(parts, cell, lambda last, since: times.append(since) is None)
    await evictor.evict(REF, "room for another")
    assert times[1] >= times[0]


async def test_a_copy_that_another_takes_back_is_evicted_all_the_same(parts, evictor) -> None:
    """It had begun to leave for a newcomer that then did not come; the API had asked for it too."""
    old = await hold(parts, REF, 60)
    left = await evictor.retire(REF)
    asked = asyncio.create_task(evictor.evict(REF, "the API asked for it"))
    await asyncio.sleep(0)
    await evictor.take_back(left)
    assert await asked == ""
    assert old.freed and parts.copies.get(REF) is None
