"""A key that cannot be used stops the housekeeping of its own member only."""

from __future__ import annotations

import pytest

from shared.scripts import CHUNK, PartlyDone
from tests.helpers.cell import LEASE_MS, MAX_ATTEMPTS, Cell
from tests.helpers.factories import OTHER_REF, REF, kept, placing

NOW_MS = 1_000_000


@pytest.fixture(autouse=True)
def clock(cell: Cell) -> None:
    """The test owns it."""
    cell.scripts.now_ms = NOW_MS


async def poison(cell: Cell, key: str) -> None:
    """A key of a type that no script expects there."""
    await cell.client.delete(key)
    await cell.client.set(key, "a text", px=600_000)


async def test_a_dead_worker_that_cannot_be_released_keeps_no_other(cell: Cell) -> None:
    """It is told, and passed over for ever."""
    for worker in ("w1", "w2", "w3"):
        await cell.worker(worker, holds=[REF])
    await poison(cell, cell.keys.holds("w2"))
    cell.scripts.now_ms += LEASE_MS
    await cell.attend()
    found = [await cell.scripts.reap(MAX_ATTEMPTS) for _ in range(3)]
    assert sorted(row for row in found if row[1] == 0) == [("w1", 0), ("w3", 0)]
    assert found[-1][1] == -1 and "w2: " in found[-1][0] and "WRONGTYPE" in found[-1][0]


async def test_a_request_that_cannot_be_ended_keeps_no_other(cell: Cell) -> None:
    """The others expire on time; it is tried again later."""
    items = [kept(timeout_ms=5) for _ in range(3)]
    await cell.place(*items)
    await poison(cell, cell.keys.request(items[0].id))
    cell.scripts.now_ms += 5
    await cell.attend()
    with pytest.raises(PartlyDone, match=items[0].id) as raised:
        await cell.scripts.sweep()
    assert raised.value.counts[0] == 2
    with pytest.raises(PartlyDone):
        await cell.scripts.sweep()
    await cell.client.delete(cell.keys.request(items[0].id))
    assert await cell.scripts.sweep() == (0, 0, 0)
    assert await cell.client.zcard(cell.keys.deadlines) == 0


async def test_a_model_that_cannot_be_looked_at_keeps_no_other(cell: Cell) -> None:
    """The lost order of another one is repeated."""
    await cell.place(placing(), placing(ref=OTHER_REF))
    await poison(cell, cell.keys.load(REF))
    await cell.client.delete(cell.keys.load(OTHER_REF))
    with pytest.raises(PartlyDone, match=REF) as raised:
        await cell.scripts.sweep()
    assert raised.value.counts[1] == 1
    assert await cell.token(OTHER_REF)


async def test_a_session_or_a_minimum_that_cannot_be_kept_keeps_no_other(cell: Cell) -> None:
    """Sessions end, missing copies are ordered."""
    epoch = await cell.worker(lease_ms=10 * LEASE_MS)
    report = {"budget_bytes": 100}
    await cell.scripts.heartbeat("w1", epoch, "one", 10 * LEASE_MS, 0, report)
    for session in ("bad", "good"):
        await cell.scripts.open_session(session, 1000, 9, [(REF, 10)])
    await poison(cell, cell.keys.session("bad"))
    for ref in (REF, OTHER_REF):
        await cell.scripts.set_policy(ref, {"min_copies": "1"})
    await poison(cell, cell.keys.stats(REF))
    cell.scripts.now_ms += 1000
    await cell.attend()
    with pytest.raises(PartlyDone) as raised:
        await cell.scripts.reconcile()
    assert raised.value.counts == [1, 1]
    assert await cell.token(OTHER_REF)


async def test_many_that_fail_are_told_in_a_bounded_answer(cell: Cell) -> None:
    """The first few."""
    items = [kept(timeout_ms=5) for _ in range(CHUNK)]
    await cell.place(*items)
    for item in items:
        await poison(cell, cell.keys.request(item.id))
    cell.scripts.now_ms += 5
    await cell.attend()
    with pytest.raises(PartlyDone) as raised:
        await cell.scripts.sweep()
    assert len(raised.value.errors) == 8
