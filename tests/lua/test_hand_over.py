"""hand_over: a stopping gateway gives away what its callers wait for."""

from __future__ import annotations

import pytest

from shared.placed import Placed
from shared.scripts import CHUNK, Placing, Waiting
from tests.helpers.cell import MAX_ATTEMPTS, Cell
from tests.helpers.factories import REF, placing


def waiting(cell: Cell, item: Placing, placed: Placed) -> Waiting:
    """As the gateway knows it."""
    stream = cell.keys.work(placed.detail) if placed.detail else ""
    return Waiting(item.id, item.ref, placed.deadline_ms, stream, placed.entry)


async def hand_over(cell: Cell, *rows: Waiting) -> tuple[list[int], list[dict[str, bytes]]]:
    """Its answer, and the replies that can still be read."""
    kept = await cell.scripts.hand_over("gw1", rows)
    return kept, await cell.replies("gw1.unread")


async def test_a_warm_request_gets_a_record_and_its_outcome_is_kept_there(cell: Cell) -> None:
    """Its work entry says nothing of a record; the outcome finds no gateway, but the record."""
    await cell.gateway()
    epoch = await cell.worker("w1", holds=[REF])
    item = placing()
    (placed,) = await cell.place(item)
    assert await cell.record(item.id) == {}
    kept, unread = await hand_over(cell, waiting(cell, item, placed))
    assert (kept, unread) == ([1], [])
    entries = await cell.read()
    await cell.begin("w1", epoch, entries)
    await cell.complete("w1", epoch, entries, outcome=b"42")
    record = await cell.record(item.id)
    assert (record["status"], record["outcome"]) == (b"succeeded", b"42")
    assert await cell.exists(cell.keys.replies("gw1"), cell.keys.deadlines) == []


async def test_a_parked_request_keeps_its_outcome_too(cell: Cell) -> None:
    """It had a record only while it waited."""
    await cell.gateway()
    item = placing()
    (placed,) = await cell.place(item)
    assert (await hand_over(cell, waiting(cell, item, placed)))[0] == [1]
    epoch = await cell.worker("w1", holds=[REF])
    await cell.client.delete(cell.keys.load(REF))
    await cell.scripts.sweep()
    await cell.complete("w1", epoch, await cell.read(), outcome=b"42")
    assert (await cell.record(item.id))["outcome"] == b"42"


async def test_unread_replies_report_the_ended_requests(cell: Cell) -> None:
    """Nothing that was published falls between the last read and the hand-over."""
    await cell.gateway()
    epoch = await cell.worker("w1", holds=[REF])
    item = placing()
    (placed,) = await cell.place(item)
    await cell.complete("w1", epoch, await cell.read(), outcome=b"42")
    for _ in range(2):  # also when the answer was lost, and the call is repeated
        kept, (reply,) = await hand_over(cell, waiting(cell, item, placed))
        assert kept == [0]
        assert (reply["id"], reply["outcome"]) == (item.id.encode(), b"42")
    assert await cell.client.pttl(cell.keys.replies("gw1.unread")) > 0


async def test_it_can_be_cancelled_expire_and_move_like_any_other(cell: Cell) -> None:
    """The record says where it is."""
    cell.scripts.now_ms = 1_000_000
    await cell.gateway()
    epoch = await cell.worker("w1", holds=[REF])
    items = [placing(timeout_ms=t) for t in (50, 60_000, 60_000)]
    rows = await cell.place(*items)
    pairs = zip(items, rows, strict=True)
    await hand_over(cell, *(waiting(cell, i, p) for i, p in pairs))
    cell.scripts.now_ms += 50
    assert (await cell.scripts.sweep())[0] == 1
    assert await cell.cancel(items[1].id) == "cancelled"
    await cell.scripts.fence_worker("w1", epoch, 0, "died", MAX_ATTEMPTS)
    found = [(await cell.record(item.id))["status"] for item in items]
    assert found == [b"expired", b"cancelled", b"parked"]


async def test_its_lease_ends_so_that_others_take_what_it_had_read(cell: Cell) -> None:
    """The next beat of any gateway puts its door entries back."""
    await cell.gateway("gw1")
    await cell.client.xadd(cell.keys.ingress, {"model": "m"})
    await cell.client.xreadgroup("g", "gw1", {cell.keys.ingress: ">"})
    await hand_over(cell)
    assert await cell.gateway("gw2") == 1
    assert await cell.client.zrange(cell.keys.gateways, 0, -1) == [b"gw2"]


async def test_an_outcome_in_the_memory_of_a_gateway_that_left_is_a_clear_failure(
    cell: Cell,
) -> None:
    """Nobody else can read it, and a reference to nothing would be no answer."""
    await cell.gateway()
    epoch = await cell.worker("w1", holds=[REF])
    item = placing()
    (placed,) = await cell.place(item)
    await hand_over(cell, waiting(cell, item, placed))
    await cell.gateway("gw2")
    await cell.scripts.subscribe(item.id, "gw2")
    await cell.complete("w1", epoch, await cell.read(), outcome=b"\xc1some-file")
    record = await cell.record(item.id)
    assert record["status"] == b"failed" and record["outcome"].startswith(b"unavailable ")
    assert [r["outcome"] for r in await cell.replies("gw2")] == [record["outcome"]]


async def test_many_are_handed_over_in_parts(cell: Cell) -> None:
    """Redis is not held for all of them; the reply stream goes with the last part."""
    await cell.gateway("gw1")
    epoch = await cell.worker("w1", holds=[REF])
    items = [placing(flags="") for _ in range(2 * CHUNK + 3)]
    rows = [waiting(cell, i, p) for i, p in zip(items, await cell.place(*items), strict=True)]
    ended = (await cell.read("w1"))[:2]
    await cell.begin("w1", epoch, ended)
    await cell.complete("w1", epoch, ended)
    kept, unread = await hand_over(cell, *rows)
    assert kept == [0, 0] + [1] * (len(items) - 2)
    assert {r["id"].decode() for r in unread} == {i.id for i in items[:2]}
    assert not await cell.exists(cell.keys.replies("gw1"))


async def test_a_gateway_may_die_between_two_parts(cell: Cell) -> None:
    """What was handed over keeps its outcome, although the gateway never comes to the last part."""
    await cell.gateway()
    epoch = await cell.worker("w1", holds=[REF])
    item = placing(flags="")
    (placed,) = await cell.place(item)
    rows = waiting(cell, item, placed)
    assert await cell.scripts._run("hand_over", "gw1", "", *rows[:5], "") == [1]
    await cell.complete("w1", epoch, await cell.read(), outcome=b"42")
    record = await cell.record(item.id)
    assert (record["status"], record["outcome"]) == (b"succeeded", b"42")
    assert await cell.exists(cell.keys.deadlines) == []


@pytest.mark.parametrize("is_parked", [False, True])
async def test_what_ends_between_two_parts_is_read_by_its_gateway(
    cell: Cell, is_parked: bool
) -> None:
    """It has no record that is kept: its caller gets the answer, and no second request is made."""
    await cell.gateway()
    epoch = await cell.worker("w1", holds=[] if is_parked else [REF])
    item = placing(flags="")
    (placed,) = await cell.place(item)
    assert await cell.scripts._run("hand_over", "gw1", "") == []
    if is_parked:
        await cell.scripts.announce("w1", epoch, REF, await cell.claim("w1", epoch), "device 1")
    await cell.complete("w1", epoch, await cell.read(), outcome=b"42")
    kept, (reply,) = await hand_over(cell, waiting(cell, item, placed))
    assert (kept, reply["id"], reply["outcome"]) == ([0], item.id.encode(), b"42")
    assert await cell.exists(cell.keys.request(item.id), cell.keys.deadlines) == []


async def test_a_gateway_that_stops_gets_no_stream_again(cell: Cell) -> None:
    """By a placement or a heartbeat that was on its way: outcomes would go there, unread."""
    await cell.gateway()
    await cell.worker("w1", holds=[REF])
    await hand_over(cell)
    await cell.place(placing())
    await cell.gateway()
    assert await cell.exists(cell.keys.replies("gw1")) == []
