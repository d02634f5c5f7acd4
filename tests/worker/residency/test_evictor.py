"""One copy goes: retire, drain, free, in that order."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from shared import clock, retry
from shared.errors import Unavailable
from shared.events import Event, decode
from shared.footprint import Footprint
from tests.helpers.cell import Cell
from tests.helpers.evicting import hold, holders, made_evictor, own
from tests.helpers.factories import OTHER_REF, REF
from tests.helpers.wait import wait_until
from worker.residency.context import WorkerContext
from worker.residency.evictor import Evictor
from worker.residency.gauge import Gauge, Span
from worker.residency.outcome import FREED


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
    copy = parts.copies.acquire(REF)
    leaving = asyncio.create_task(evictor.evict(REF, "room for another"))
    await wait_until(lambda: copy.retiring)
    waiting = asyncio.create_task(evictor.until_freed(REF))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    parts.copies.release(copy)
    await asyncio.gather(leaving, waiting)
    assert parts.copies.get(REF) is None and parts.ledger.used == 0


async def test_a_load_that_is_given_up_leaves_no_copy_half_evicted(parts, room) -> None:
    """Its lease was lost while it made room: the eviction ends, and nothing stays reserved."""
    old = await hold(parts, REF, 60)
    copy = parts.copies.acquire(REF)
    making = asyncio.create_task(room.made(OTHER_REF, own(60)))
    await wait_until(lambda: copy.retiring)
    making.cancel()
    await asyncio.gather(making, return_exceptions=True)
    parts.copies.release(copy)
    await wait_until(lambda: parts.copies.get(REF) is None)
    assert old.freed and parts.ledger.used == 0


async def test_a_read_from_before_it_was_retired_proves_nothing(
    cell: Cell, parts: WorkerContext, monkeypatch: pytest.MonkeyPatch
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
    await evictor.reinstate(left)
    assert await asked == FREED
    assert old.freed and parts.copies.get(REF) is None


async def events_of(cell: Cell, kind: str) -> list[Event]:
    """What the log says, oldest first."""
    entries = await cell.client.xrange(cell.keys.events)
    found = [decode(entry, fields) for entry, fields in entries]
    return [event for event in found if event.kind == kind]


@pytest.mark.parametrize("together", [True, False])
async def test_each_event_reports_the_bytes_of_its_own_copy(
    cell: Cell, parts: WorkerContext, evictor: Evictor, together: bool
) -> None:
    """Ten that leave at the same time are not added up; what several share goes with the last."""
    shared = frozenset({("a" * 64, 20)})
    sizes = {f"m{n}:1:{n:064x}": n + 1 for n in range(10)}
    for ref, size in sizes.items():
        await hold(parts, ref, size)
    for ref in list(sizes)[:2]:
        assert parts.ledger.correct(ref, Footprint(shared, sizes[ref]))
    used = parts.ledger.used
    leaving = [evictor.evict(ref, "room for another") for ref in sizes]
    if together:
        await asyncio.gather(*leaving)
    else:
        for one in leaving:
            await one
    await evictor._events.finish(5.0)
    said = {event.ref: event.bytes for event in await events_of(cell, "evicted")}
    assert used == sum(sizes.values()) + 20 == sum(said.values())
    assert parts.ledger.used == 0
    more = {ref: said[ref] - size for ref, size in sizes.items()}
    assert sorted(more.values()) == [0] * 9 + [20]
    assert next(ref for ref in more if more[ref]) in list(sizes)[:2]


async def test_what_was_regained_is_that_of_the_copy_alone(
    cell: Cell, parts: WorkerContext
) -> None:
    """Measured while nothing else runs on the device; left out where it cannot be told."""
    live = [1000]
    counted = replace(parts, gauge=Gauge(lambda: live[0]))
    evictor, refs = made_evictor(counted, cell), [f"m{n}:1:{n:064x}" for n in range(3)]
    for number, ref in enumerate(refs):
        model = await hold(counted, ref, 10)
        model.unload = lambda number=number: live.__setitem__(0, live[0] - 100 * (number + 1))
    await asyncio.gather(*(evictor.evict(ref, "room") for ref in refs[:2]))
    counted.gauge.begin(Span())  # a load beside it
    await evictor.evict(refs[2], "room")
    await evictor._events.finish(5.0)
    said = {event.ref: event.bytes_regained for event in await events_of(cell, "evicted")}
    assert said == {refs[0]: 100, refs[1]: 200, refs[2]: None}


async def test_a_copy_that_is_being_announced_is_retired_after_that(
    cell: Cell, parts: WorkerContext, evictor
) -> None:
    """Heard later, the announcement would make a holder of a worker that has freed it: what is
    placed there would fail."""
    await hold(parts, REF, 60)
    copy = parts.copies.get(REF)
    assert copy is not None
    copy.announcing = True
    asked = asyncio.create_task(evictor.evict(REF, "room for another"))
    await wait_until(lambda: copy.retiring)
    await parts.membership.announce(REF, "")
    assert not asked.done()
    parts.copies.announced(REF)
    assert await asked == FREED
    assert await cell.client.hlen(cell.keys.holders(REF)) == 0
