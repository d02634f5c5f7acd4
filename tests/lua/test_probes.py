"""What may probe a model whose quarantine is over: what has crashed nothing, if it waits (I38)."""

from __future__ import annotations

import pytest

from tests.helpers.cell import MAX_ATTEMPTS, Cell
from tests.helpers.factories import REF, placing
from tests.lua.fleet import NOW_MS
from tests.lua.test_crashes import CAUSE, FIRST_MS, crash


@pytest.fixture(autouse=True)
def _clock(cell: Cell) -> None:
    cell.scripts.now_ms = NOW_MS


async def quarantined_with(cell: Cell, *attempts: int) -> str:
    """The quarantine is over; requests that began so often are parked; the epoch of a holder."""
    await cell.worker("w3", lease_ms=600_000)
    await crash(cell, "w1", times=3)
    await crash(cell, "w2", times=2)
    await cell.client.sadd(cell.keys.parked_refs, REF)
    for count in attempts:
        item = placing()
        await cell.client.hset(
            cell.keys.request(item.id), mapping={"flags": "k", "status": "parked", "model": REF}
        )
        await cell.client.expire(cell.keys.request(item.id), 60)
        await cell.client.xadd(
            cell.keys.parked(REF),
            {"id": item.id, "model": REF, "deadline": "9" * 13, "reply": "", "flags": "k",
             "attempts": count, "body": b"x"},
        )  # fmt: skip
    cell.scripts.now_ms = NOW_MS + FIRST_MS
    return await cell.worker("w3", lease_ms=600_000)


async def test_the_probe_is_the_request_with_the_fewest_starts(cell: Cell) -> None:
    """Of those that wait, when a worker announces the model and when the sweep finds a holder."""
    epoch = await quarantined_with(cell, 2, 1, 0, 2, 0)
    await cell.scripts.announce("w3", epoch, REF, "", "device 1")
    (probe,) = await cell.read("w3")
    assert probe.fields["attempts"] == b"0" and b"h" in probe.fields["flags"]
    await cell.complete("w3", epoch, [probe], "failed", b"model_failed it proves nothing")
    await cell.client.hdel(cell.keys.breaker(REF), "probe_until")
    assert (await cell.scripts.sweep())[2] == 1
    (probe,) = await cell.read("w3")
    assert probe.fields["attempts"] == b"0"


async def test_a_request_that_crashed_its_worker_is_not_the_next_probe(cell: Cell) -> None:
    """It waits behind those who have crashed nothing, and does not make the quarantine longer."""
    epoch = await quarantined_with(cell, 1)
    await cell.scripts.announce("w3", epoch, REF, "", "device 1")
    await cell.begin("w3", epoch, await cell.read("w3"), batch=1)
    await cell.worker("w4", holds=[REF], lease_ms=600_000)
    now = cell.scripts.now_ms or 0
    await cell.scripts.fence_worker("w3", epoch, 1, CAUSE, MAX_ATTEMPTS)
    assert await cell.client.xlen(cell.keys.parked(REF)) == 1
    until = await cell.client.hget(cell.keys.breaker(REF), "until")
    assert int(until) == now + FIRST_MS
    cell.scripts.now_ms = now + FIRST_MS
    assert [p.status for p in await cell.place(placing())] == ["placed"]
    assert await cell.client.xlen(cell.keys.parked(REF)) == 1


async def test_a_request_that_is_moved_is_no_probe_if_it_may_have_crashed_its_worker(
    cell: Cell,
) -> None:
    """It had begun before the quarantine, whose time is over: it is parked beside a live holder,
    and the sweep lets it through if no other waits."""
    await cell.worker("w3", holds=[REF], lease_ms=600_000)
    await cell.place(placing(timeout_ms=600_000))
    epoch = await cell.client.hget(cell.keys.worker("w3"), "epoch")
    (begun,) = await cell.read("w3")
    await cell.begin("w3", epoch.decode(), [begun], batch=1)
    await crash(cell, "w1", times=3)
    await crash(cell, "w2", times=2)
    cell.scripts.now_ms = NOW_MS + FIRST_MS
    await cell.worker("w4", holds=[REF], lease_ms=600_000)
    await cell.scripts.leave("w3", epoch.decode(), MAX_ATTEMPTS)
    assert await cell.read("w4") == []
    parked = await cell.stream(cell.keys.parked(REF))
    assert (begun.fields["id"], b"1") in [(e.fields["id"], e.fields["attempts"]) for e in parked]


async def test_what_may_have_crashed_its_worker_is_placed_behind_the_others(cell: Cell) -> None:
    """It runs alone, after those who have crashed nothing."""
    epoch = await cell.worker("w1", holds=[REF], lease_ms=600_000)
    await cell.place(placing(body=b"ran"), placing(body=b"2"), placing(body=b"3"))
    await cell.begin("w1", epoch, (await cell.read("w1"))[:1], batch=1)
    await cell.worker("w2", holds=[REF], lease_ms=600_000)
    await cell.scripts.fence_worker("w1", epoch, 1, CAUSE, MAX_ATTEMPTS)
    assert [entry.fields["body"] for entry in await cell.read("w2")] == [b"2", b"3", b"ran"]
