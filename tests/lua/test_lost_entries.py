"""Redis loses a stream (a DEL, an eviction): requests with a record end soon, and say why."""

from __future__ import annotations

import pytest

from shared.scripts import CHUNK
from tests.helpers.cell import Cell
from tests.helpers.factories import OTHER_REF, REF, kept, placing

LOST = b"unavailable Redis has lost the entry of this request; send it again"


async def swept(cell: Cell) -> int:
    """Requests that were ended, in as many sweeps as it takes."""
    ended = 0
    while found := (await cell.scripts.sweep())[0]:
        ended += found
    return ended


@pytest.mark.parametrize("worker", ["w1", ""])
async def test_accepted_requests_end_at_once_with_the_reason(cell: Cell, worker: str) -> None:
    """Placed or parked; their callers may send them again, under the same key too."""
    if worker:
        await cell.worker(worker, holds=[REF])
    items = [kept(key=f"key {n}") for n in range(3)]
    await cell.place(*items)
    await cell.client.delete(cell.keys.work("w1") if worker else cell.keys.parked(REF))
    assert await swept(cell) == 3
    for item in items:
        record = await cell.record(item.id)
        assert (record["status"], record["outcome"]) == (b"failed", LOST)
    assert await cell.client.zcard(cell.keys.deadlines) == 0
    again = kept(key="key 0")
    (placed,) = await cell.place(again)
    assert placed.status in ("placed", "parked")


async def test_waiting_callers_of_parked_requests_are_told(cell: Cell) -> None:
    """By the reply stream of their gateway."""
    await cell.gateway()
    item = placing()
    await cell.place(item)
    await cell.client.delete(cell.keys.parked(REF))
    assert await swept(cell) == 1
    (reply,) = await cell.replies()
    assert (reply["id"], reply["outcome"]) == (item.id.encode(), LOST)


async def test_however_many_are_lost_each_ends(cell: Cell) -> None:
    """A part in each call."""
    await cell.place(*[kept() for _ in range(3 * CHUNK)])
    await cell.client.delete(cell.keys.parked(REF))
    assert (await cell.scripts.sweep())[0] <= CHUNK
    ended = 0
    for _ in range(30):
        ended += (await cell.scripts.sweep())[0]
    assert await cell.client.zcard(cell.keys.deadlines) == 0 and ended > CHUNK


async def test_requests_whose_entries_are_there_go_on(cell: Cell) -> None:
    """Waiting, running or moved; those of the lost stream alone end."""
    epoch = await cell.worker("w1", holds=[REF])
    await cell.place(kept(), kept(), kept(ref=OTHER_REF))
    entries = await cell.read()
    await cell.begin("w1", epoch, entries[:1])
    assert await swept(cell) == 0
    await cell.client.delete(cell.keys.parked(OTHER_REF))
    assert await swept(cell) == 1
    await cell.complete("w1", epoch, entries)
    assert await swept(cell) == 0


async def test_a_lost_index_of_parked_models_is_built_again(cell: Cell) -> None:
    """Without it no load would be ordered for them."""
    await cell.place(placing())
    await cell.client.delete(cell.keys.parked_refs, cell.keys.load(REF))
    assert sum([(await cell.scripts.sweep())[1] for _ in range(2)]) == 1
    assert await cell.token(REF)
