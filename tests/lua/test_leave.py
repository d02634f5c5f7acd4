"""leave.lua: a drained worker hands back what it has not begun, and is forgotten."""

from __future__ import annotations

from tests.helpers.cell import MAX_ATTEMPTS, Cell
from tests.helpers.factories import REF, kept, placing


async def test_a_worker_that_leaves_is_forgotten(cell: Cell) -> None:
    """Nothing of it is left but the counter of epochs, what it has shown of models, and its
    protocol."""
    epoch = await cell.worker("w1", holds=[REF])
    assert await cell.scripts.leave("w1", epoch, MAX_ATTEMPTS)
    left = [key.decode() async for key in cell.client.scan_iter(cell.keys.prefix + ":*")]
    keys = cell.keys
    assert sorted(left) == [keys.epoch, keys.loaded_versions("mnist"), keys.protocols]


async def test_requests_that_it_had_not_started_go_to_another_holder(cell: Cell) -> None:
    """Without an attempt counted, however many there are."""
    epoch = await cell.worker("w1", holds=[REF])
    await cell.place(*[placing() for _ in range(300)])
    await cell.read("w1", count=10)
    await cell.worker("w2", holds=[REF])
    assert await cell.scripts.leave("w1", epoch, MAX_ATTEMPTS)
    moved = await cell.stream(cell.keys.work("w2"))
    assert len(moved) == 300
    assert {e.fields["attempts"] for e in moved} == {b"0"}


async def test_what_still_ran_when_the_grace_was_over_counts_an_attempt(cell: Cell) -> None:
    """It is placed again too; the worker that has left cannot commit it any more."""
    epoch = await cell.worker("w1", holds=[REF])
    item = kept()
    await cell.place(item)
    entries = await cell.read("w1")
    await cell.begin("w1", epoch, entries)
    await cell.scripts.leave("w1", epoch, MAX_ATTEMPTS)
    (parked,) = await cell.stream(cell.keys.parked(REF))
    assert parked.fields["attempts"] == b"1"
    assert (await cell.record(item.id))["status"] == b"parked"
    assert await cell.complete("w1", epoch, entries) == [-1]


async def test_only_the_present_epoch_can_leave(cell: Cell) -> None:
    """A stranger or an older epoch takes nobody else's place away."""
    old = await cell.worker("w1")
    await cell.worker("w1", holds=[REF])
    assert not await cell.scripts.leave("w1", old, MAX_ATTEMPTS)
    assert not await cell.scripts.leave("w9", old, MAX_ATTEMPTS)
    assert (await cell.place(placing()))[0].detail == "w1"
