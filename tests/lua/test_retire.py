"""retire.lua: no more requests for a model are placed on a worker, which drains what was."""

from __future__ import annotations

from tests.helpers.cell import Cell
from tests.helpers.factories import OTHER_REF, REF, placing


async def test_a_retired_model_gets_no_more_requests_there(cell: Cell) -> None:
    """It goes out of the map and its reverse; the worker's other models stay."""
    epoch = await cell.worker("w1", holds=[REF, OTHER_REF])
    await cell.scripts.retire("w1", epoch, REF)
    assert (await cell.place(placing()))[0].status == "parked"
    assert (await cell.place(placing(ref=OTHER_REF)))[0].status == "placed"
    assert await cell.exists(cell.keys.holders(REF)) == []
    assert await cell.client.smembers(cell.keys.holds("w1")) == {OTHER_REF.encode()}


async def test_the_answer_is_the_last_entry_to_drain(cell: Cell) -> None:
    """Whatever model it is for; what was placed before stays on the stream."""
    epoch = await cell.worker("w1", holds=[REF, OTHER_REF])
    placed = await cell.place(placing(), placing(ref=OTHER_REF))
    assert await cell.scripts.retire("w1", epoch, REF) == placed[1].entry
    assert await cell.client.xlen(cell.keys.work("w1")) == 2


async def test_with_nothing_placed_there_is_nothing_to_drain(cell: Cell) -> None:
    """The answer is the id before all others."""
    epoch = await cell.worker("w1", holds=[REF])
    assert await cell.scripts.retire("w1", epoch, REF) == "0-0"


async def test_other_holders_go_on(cell: Cell) -> None:
    """Only this worker's copy is retired."""
    epoch = await cell.worker("w1", holds=[REF])
    await cell.worker("w2", holds=[REF])
    await cell.scripts.retire("w1", epoch, REF)
    assert (await cell.place(placing()))[0].detail == "w2"


async def test_a_worker_of_an_older_epoch_retires_nothing(cell: Cell) -> None:
    """Its answer is empty; the copy that the new epoch announced stays."""
    old = await cell.worker("w1")
    await cell.worker("w1", holds=[REF])
    assert await cell.scripts.retire("w1", old, REF) == ""
    assert await cell.client.hexists(cell.keys.holders(REF), "w1")
