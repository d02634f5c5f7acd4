"""Making room: retire, drain, free, in that order, and never over the budget."""

from __future__ import annotations

import asyncio

import pytest

from shared import clock, retry
from shared.errors import Unavailable
from shared.manifest import Batching
from tests.helpers.cell import Cell
from tests.helpers.factories import OTHER_REF, REF, manifest, work
from tests.helpers.wait import wait_until
from worker.batcher import Batcher
from worker.copies import Copies, Copy
from worker.device_thread import DeviceThread
from worker.evictor import Evictor
from worker.ledger import Footprint, Ledger
from worker.membership import Membership
from worker.parts import Parts

BUDGET = 100


def own(size: int) -> Footprint:
    """A copy that shares nothing."""
    return Footprint(frozenset(), size)


class Model:
    """A loaded model that remembers being freed."""

    def __init__(self) -> None:
        self.freed = False

    def unload(self) -> None:
        self.freed = True


@pytest.fixture
async def parts(cell: Cell):
    """A registered worker w1 with room for 100 bytes."""
    copies = Copies()
    member = Membership(cell.scripts, "w1", 10, 3, dict, copies.held)
    await member.register()
    made = Parts(
        scripts=cell.scripts, membership=member, copies=copies, batcher=Batcher(),
        ledger=Ledger(BUDGET), thread=DeviceThread(),
    )  # fmt: skip
    yield made
    made.thread.close()


@pytest.fixture
def evictor(parts: Parts) -> Evictor:
    """An evictor whose reader has always caught up."""
    return Evictor(parts, lambda last, since: True)


async def hold(parts: Parts, ref: str, size: int) -> Model:
    """A resident, announced copy."""
    model = Model()
    parts.ledger.reserve(ref, own(size))
    parts.copies.add(Copy(ref, manifest(), model, own(size)))
    parts.batcher.open(ref, Batching())
    await parts.membership.announce(ref, "")
    return model


async def holders(cell: Cell, ref: str) -> int:
    """How many workers the map names."""
    return await cell.client.hlen(cell.keys.holders(ref))


async def test_room_is_made_by_retiring_draining_and_freeing(cell, parts, evictor) -> None:
    """The map forgets the copy before its memory goes; the newcomer's bytes are reserved."""
    old = await hold(parts, REF, 60)
    assert await evictor.make_room(OTHER_REF, own(60))
    assert (old.freed, await holders(cell, REF), parts.copies.get(REF)) == (True, 0, None)
    assert parts.ledger.used == 60


async def test_a_copy_in_use_is_freed_only_when_its_batch_has_ended(cell, parts, evictor) -> None:
    """It takes no new requests meanwhile."""
    old = await hold(parts, REF, 60)
    copy = parts.copies.hold(REF)
    room = asyncio.create_task(evictor.make_room(OTHER_REF, own(60)))
    await wait_until(lambda: copy.retiring)
    await asyncio.sleep(0.05)
    assert not old.freed and not room.done()
    parts.copies.let_go(copy)
    assert await room
    assert old.freed


async def test_a_copy_with_requests_in_its_queue_waits_for_them(parts, evictor) -> None:
    """What was placed before it retired still runs."""
    old = await hold(parts, REF, 60)
    parts.batcher.put(work(ref=REF))
    room = asyncio.create_task(evictor.make_room(OTHER_REF, own(60)))
    await wait_until(lambda: parts.copies.all()[0].retiring)
    await asyncio.sleep(0.05)
    assert not old.freed
    parts.batcher.next(float("inf"))
    assert await room


async def test_what_can_never_fit_is_refused_and_nothing_is_evicted(parts, evictor) -> None:
    """The resident copy stays."""
    old = await hold(parts, REF, 60)
    assert not await evictor.make_room(OTHER_REF, own(BUDGET + 1))
    assert not old.freed and parts.ledger.used == 60


async def test_more_than_predicted_evicts_more(parts, evictor) -> None:
    """The measured size replaces the prediction, within the budget."""
    old = await hold(parts, REF, 60)
    assert await evictor.make_room(OTHER_REF, own(40))
    assert not old.freed
    assert await evictor.correct(OTHER_REF, own(70))
    assert old.freed and parts.ledger.used == 70


async def test_a_measured_size_that_fits_evicts_nobody(parts, evictor) -> None:
    """It may also be less than predicted."""
    old = await hold(parts, REF, 60)
    assert await evictor.make_room(OTHER_REF, own(40))
    assert await evictor.correct(OTHER_REF, own(10))
    assert not old.freed and parts.ledger.used == 70


async def test_a_measured_size_over_the_budget_is_refused(parts, evictor) -> None:
    """And its reservation is gone."""
    assert await evictor.make_room(OTHER_REF, own(40))
    assert not await evictor.correct(OTHER_REF, own(BUDGET + 1))
    assert parts.ledger.used == 0


async def test_a_load_that_waits_for_room_does_not_hold_up_the_one_it_waits_for(
    parts, evictor
) -> None:
    """Two loads that together need more than there is: the first ends, is evicted, and the second
    has its room."""
    assert await evictor.make_room(REF, own(60))
    second = asyncio.create_task(evictor.make_room(OTHER_REF, own(60)))
    await asyncio.sleep(0.02)
    async with asyncio.timeout(20):
        assert await evictor.correct(REF, own(60))
        parts.copies.add(Copy(REF, manifest(), Model(), own(60)))
        assert await second
    assert parts.ledger.used == 60


async def test_a_copy_that_is_larger_than_predicted_waits_with_its_reservation(
    parts, evictor
) -> None:
    """Nothing can be evicted yet, and nobody else may take what it occupies already."""
    assert await evictor.make_room(REF, own(60))
    assert await evictor.make_room(OTHER_REF, own(30))
    growing = asyncio.create_task(evictor.correct(OTHER_REF, own(50)))
    await asyncio.sleep(0.02)
    assert not growing.done() and parts.ledger.used == 90
    parts.ledger.release(REF)
    async with asyncio.timeout(20):
        assert await growing
    assert parts.ledger.used == 50


async def test_room_that_is_free_is_taken_without_evicting(parts, evictor) -> None:
    """Else it is refused, and nothing is reserved; so is a copy that proves larger."""
    old = await hold(parts, REF, 60)
    assert not await evictor.take_free_room(OTHER_REF, own(50))
    assert await evictor.take_free_room(OTHER_REF, own(30))
    assert parts.ledger.used == 90
    assert not await evictor.correct(OTHER_REF, own(50), evict=False)
    assert not old.freed and parts.ledger.used == 60


async def test_a_retirement_that_redis_does_not_answer_is_repeated(
    cell, parts, evictor, monkeypatch
) -> None:
    """Nothing is freed before the map has forgotten the copy."""
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.001)
    old, failures = await hold(parts, REF, 60), [Unavailable("no answer")] * 3
    retire = cell.scripts.retire

    async def unreliable(*args: str) -> str:
        if failures:
            raise failures.pop()
        assert not old.freed
        return await retire(*args)

    monkeypatch.setattr(cell.scripts, "retire", unreliable)
    await evictor.evict(REF)
    assert old.freed and failures == [] and await holders(cell, REF) == 0


async def test_who_loads_a_model_again_waits_until_it_is_freed(parts, evictor) -> None:
    """A copy on its way out is not mistaken for one that is there."""
    await hold(parts, REF, 60)
    copy = parts.copies.hold(REF)
    leaving = asyncio.create_task(evictor.evict(REF))
    await wait_until(lambda: copy.retiring)
    waiting = asyncio.create_task(evictor.until_freed(REF))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    parts.copies.let_go(copy)
    await asyncio.gather(leaving, waiting)
    assert parts.copies.get(REF) is None and parts.ledger.used == 0


async def test_a_load_that_is_given_up_leaves_no_copy_half_evicted(parts, evictor) -> None:
    """Its lease was lost while it made room: the eviction ends, and nothing stays reserved."""
    old = await hold(parts, REF, 60)
    copy = parts.copies.hold(REF)
    room = asyncio.create_task(evictor.make_room(OTHER_REF, own(60)))
    await wait_until(lambda: copy.retiring)
    room.cancel()
    await asyncio.gather(room, return_exceptions=True)
    parts.copies.let_go(copy)
    await wait_until(lambda: parts.copies.get(REF) is None)
    assert old.freed and parts.ledger.used == 0


async def test_a_correction_that_is_given_up_reserves_nothing(parts, evictor) -> None:
    """While another load has its turn."""
    assert await evictor.make_room(OTHER_REF, own(40))
    async with evictor._turn:
        correction = asyncio.create_task(evictor.correct(OTHER_REF, own(10)))
        await asyncio.sleep(0.01)
        correction.cancel()
        await asyncio.gather(correction, return_exceptions=True)
    assert parts.ledger.used == 0


async def test_a_read_from_before_it_was_retired_proves_nothing(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis was away for a while: until it answered, requests were still placed on the copy."""
    times: list[float] = []
    retire = parts.scripts.retire

    async def note(*args: str) -> str:
        return (await retire(*args), times.append(clock.monotonic()))[0]

    await hold(parts, REF, 60)
    monkeypatch.setattr(parts.scripts, "retire", note)
    await Evictor(parts, lambda last, since: times.append(since) is None).evict(REF)
    assert times[1] >= times[0]
