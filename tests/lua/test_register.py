"""register.lua: a new epoch; what the old one had is wiped and placed again in the same step."""

from __future__ import annotations

import pytest
from redis.exceptions import ResponseError

from tests.helpers.cell import LEASE_MS, MAX_ATTEMPTS, Cell
from tests.helpers.factories import REF, kept, placing


async def test_a_worker_gets_an_epoch_a_lease_a_record_and_a_stream(cell: Cell) -> None:
    """With the fields it reports; its group reads from the beginning of the stream."""
    cell.scripts.now_ms = 1_000_000
    epoch = await cell.scripts.register(
        "w1", LEASE_MS, 3, {"device_name": "cuda:0", "budget_bytes": 7}
    )
    record = await cell.client.hgetall(cell.keys.worker("w1"))
    assert record == {
        b"epoch": epoch.encode(), b"since": b"1000000", b"device_name": b"cuda:0",
        b"budget_bytes": b"7", b"protocol": b"1 1",
    }  # fmt: skip
    assert await cell.client.zscore(cell.keys.workers, "w1") == 1_000_000 + LEASE_MS
    (group,) = await cell.client.xinfo_groups(cell.keys.work("w1"))
    assert (group["name"], group["last-delivered-id"]) == (epoch.encode(), b"0-0")


async def test_epochs_only_grow(cell: Cell) -> None:
    """Over all workers, and over one that comes back."""
    epochs = [int(await cell.worker(name)) for name in ("w1", "w2", "w1", "w3")]
    assert epochs == sorted(set(epochs))


async def test_what_the_old_epoch_had_is_placed_again_at_once(cell: Cell) -> None:
    """On another holder; what had begun counts an attempt, what was only read does not."""
    old = await cell.worker("w1", holds=[REF])
    items = [kept(body=b"begun"), kept(body=b"read"), kept(body=b"unread")]
    await cell.place(*items)
    entries = await cell.read("w1", count=2)
    await cell.begin("w1", old, entries[:1])
    await cell.worker("w2", holds=[REF])
    await cell.worker("w1")
    moved = {e.fields["body"]: e for e in await cell.stream(cell.keys.work("w2"))}
    assert {body: e.fields["attempts"] for body, e in moved.items()} == {
        b"begun": b"1", b"read": b"0", b"unread": b"0"
    }  # fmt: skip
    record = await cell.record(items[0].id)
    assert (record["stream"], record["entry"]) == (
        cell.keys.work("w2").encode(), moved[b"begun"].entry
    )  # fmt: skip
    assert await cell.client.xlen(cell.keys.work("w1")) == 0
    assert await cell.exists(cell.keys.started("w1")) == []


async def test_what_the_old_epoch_held_is_forgotten(cell: Cell) -> None:
    """The new one announces what it still has."""
    await cell.worker("w1", holds=[REF])
    await cell.worker("w1")
    assert await cell.exists(cell.keys.holders(REF), cell.keys.holds("w1")) == []


async def test_with_no_other_holder_the_requests_are_parked_and_a_load_is_ordered(
    cell: Cell,
) -> None:
    """Nothing is lost by a restart, however many requests there are."""
    await cell.worker("w1", holds=[REF])
    await cell.place(*[placing() for _ in range(300)])
    await cell.worker("w1")
    assert await cell.client.xlen(cell.keys.parked(REF)) == 300
    assert len(await cell.orders()) == 1


async def test_a_zombie_of_the_old_epoch_is_fenced(cell: Cell) -> None:
    """Two processes under one name: the later one has it."""
    old = await cell.worker("w1", holds=[REF])
    await cell.worker("w1")
    assert (await cell.scripts.heartbeat("w1", old, "one", LEASE_MS, 1, {})).answer == "fenced"
    assert not await cell.scripts.leave("w1", old, MAX_ATTEMPTS)


async def test_a_request_whose_starts_are_used_up_is_not_placed_again(cell: Cell) -> None:
    """A worker that is killed by its request and comes back is not killed for ever."""
    item = kept()
    await cell.place(item)
    for _ in range(MAX_ATTEMPTS):
        epoch = await cell.worker("w1", holds=[REF])
        await cell.begin("w1", epoch, await cell.read("w1"))
    await cell.worker("w1")
    assert (await cell.record(item.id))["status"] == b"failed"
    assert len(await cell.stream(cell.keys.dead_letters)) == 1


async def test_a_fenced_process_cannot_read_what_is_placed_for_the_new_one(cell: Cell) -> None:
    """Its group is gone; else its successor would wait for what the old one took and dropped."""
    old = await cell.worker("w1", holds=[REF])
    await cell.worker("w1", holds=[REF])
    await cell.place(placing())
    with pytest.raises(ResponseError, match="NOGROUP"):
        await cell.client.xreadgroup(old, "w1", {cell.keys.work("w1"): ">"})
    assert len(await cell.read("w1")) == 1


async def test_an_epoch_does_not_come_back_after_everything_was_deleted(cell: Cell) -> None:
    """Else a process that was paused meanwhile would take its successor's for its own."""
    cell.scripts.now_ms = 1_000_000
    old = await cell.worker("w1")
    cell.scripts.now_ms += 1
    await cell.client.delete(cell.keys.epoch, cell.keys.worker("w1"), cell.keys.work("w1"))
    assert int(await cell.worker("w1")) > int(old)
