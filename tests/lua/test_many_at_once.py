"""What must hold when many connections call the scripts at the same moment."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from tests.helpers.cell import LEASE_MS, WIDE, Cell, open_cell
from tests.helpers.factories import REF, kept, placing


@pytest.fixture
async def gateways(cell: Cell) -> AsyncIterator[list[Cell]]:
    """The same cell over twenty connections."""
    opened = [open_cell(cell.url, cell.name) for _ in range(20)]
    yield opened
    for own in opened:
        await own.close()


async def test_a_thousand_requests_for_one_cold_model_order_one_load(
    cell: Cell, gateways: list[Cell]
) -> None:
    """Each in a call of its own; all are parked; after the load all are placed, each once."""
    items = [placing() for _ in range(1000)]
    calls = (gateways[n % 20].place(item) for n, item in enumerate(items))
    answers = await asyncio.gather(*calls)
    assert {row.status for rows in answers for row in rows} == {"parked"}
    assert len(await cell.orders()) == 1
    epoch = await cell.worker("w1")
    token, left = await cell.claim("w1", epoch), 1
    while left > 0:
        left = await cell.scripts.announce("w1", epoch, REF, token, "device 1")
    ids = [e.fields["id"].decode() for e in await cell.read("w1", count=2000)]
    assert sorted(ids) == sorted(item.id for item in items)


async def test_bounds_hold_in_a_burst(cell: Cell, gateways: list[Cell]) -> None:
    """2,000 requests from twenty gateways at once: exactly as many as allowed are accepted."""
    await cell.worker("w1", holds=[REF])
    limits = WIDE._replace(work=700)
    bursts = (own.place(*[placing() for _ in range(100)], limits=limits) for own in gateways)
    counts = Counter(row.status for rows in await asyncio.gather(*bursts) for row in rows)
    assert counts == {"placed": 700, "full": 1300}
    assert await cell.client.xlen(cell.keys.work("w1")) == 700


async def test_placing_while_a_model_is_announced_and_retired_strands_nothing(
    cell: Cell, gateways: list[Cell]
) -> None:
    """Whatever the order, each request ends on the work stream or parked with a live order."""
    epoch = await cell.worker("w1")

    async def come_and_go() -> None:
        for _ in range(20):
            await cell.scripts.announce("w1", epoch, REF, "", "device 1")
            await cell.scripts.retire("w1", epoch, REF)

    places = (own.place(*[placing() for _ in range(10)]) for own in gateways for _ in range(5))
    await asyncio.gather(come_and_go(), *places)
    work = await cell.client.xlen(cell.keys.work("w1"))
    parked = await cell.client.xlen(cell.keys.parked(REF))
    assert work + parked == 1000
    if parked:
        assert await cell.token() != ""


async def test_a_worker_that_dies_in_the_rush_loses_and_doubles_nothing(
    cell: Cell, gateways: list[Cell]
) -> None:
    """Requests are placed, begun, completed, cancelled and reaped all at once: one end for each."""
    cell.scripts.now_ms = 1_000_000
    for own in gateways:
        own.scripts.now_ms = cell.scripts.now_ms
    await cell.gateway("gw1")
    epoch = await cell.worker("w1", holds=[REF])
    items = [kept(reply="gw1") for _ in range(400)]
    await asyncio.gather(*(g.place(*items[n * 20 : n * 20 + 20]) for n, g in enumerate(gateways)))
    entries = await cell.read("w1")
    await cell.begin("w1", epoch, entries)
    gateways[0].scripts.now_ms += LEASE_MS  # its clock says that w1 is dead

    async def reap() -> None:
        while await gateways[0].reap() is not None:
            pass

    finishing = (gateways[1].complete("w1", epoch, entries[n : n + 20]) for n in range(0, 400, 20))
    cancelling = (gateways[2].cancel(item.id) for item in items[::7])
    await asyncio.gather(*finishing, reap(), *cancelling)
    told = Counter(r["id"].decode() for r in await cell.replies("gw1"))
    assert set(told.values()) <= {1}
    parked = [e.fields["id"].decode() for e in await cell.stream(cell.keys.parked(REF))]
    assert sorted([*told, *parked]) == sorted(item.id for item in items)
    statuses = {i.id: (await cell.record(i.id))["status"] for i in items}
    assert {statuses[i] for i in parked} <= {b"parked"}
    assert {statuses[i] for i in told} <= {b"succeeded", b"cancelled"}
