"""subscribe.lua: a poller reads a record and may have the outcome sent to its gateway."""

from __future__ import annotations

from tests.helpers.cell import Cell
from tests.helpers.factories import REF, kept


async def test_an_unknown_request_has_no_record(cell: Cell) -> None:
    """And watching it makes none."""
    assert await cell.scripts.subscribe("f" * 32, "gw1") == {}
    assert await cell.exists(cell.keys.request("f" * 32)) == []


async def test_reading_alone_changes_nothing(cell: Cell) -> None:
    """Without a gateway it only reads."""
    item = kept()
    await cell.place(item)
    assert (await cell.scripts.subscribe(item.id, ""))["status"] == b"parked"
    assert "watchers" not in await cell.record(item.id)


async def test_a_watching_gateway_gets_the_outcome(cell: Cell) -> None:
    """It asked while the request ran."""
    await cell.gateway("gw2")
    epoch = await cell.worker("w1", holds=[REF])
    item = kept()
    await cell.place(item)
    entries = await cell.read("w1")
    await cell.scripts.subscribe(item.id, "gw2")
    await cell.complete("w1", epoch, entries, outcome=b"42")
    assert [r["outcome"] for r in await cell.replies("gw2")] == [b"42"]


async def test_a_gateway_that_asks_again_is_remembered_once(cell: Cell) -> None:
    """Also if its name is the beginning of another's."""
    item = kept()
    await cell.place(item)
    for gateway in ("gw11", "gw1", "gw11", "gw1"):
        await cell.scripts.subscribe(item.id, gateway)
    assert (await cell.record(item.id))["watchers"].split() == [b"gw11", b"gw1"]


async def test_an_ended_request_is_read_and_not_watched(cell: Cell) -> None:
    """Nothing will be sent any more."""
    item = kept()
    await cell.place(item)
    await cell.cancel(item.id)
    record = await cell.scripts.subscribe(item.id, "gw1")
    assert record["status"] == b"cancelled"
    assert "watchers" not in await cell.record(item.id)
