"""reap.lua: a worker that lost its lease is wiped, and its requests are placed again."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from shared.scripts import CHUNK
from tests.helpers.cell import LEASE_MS, MAX_ATTEMPTS, Cell, open_cell
from tests.helpers.factories import OTHER_REF, REF, kept, placing


async def dead(cell: Cell, *items, begin: int = 0, worker: str = "w1") -> str:
    """A worker whose lease has just run out; `begin` of its requests had begun. Its epoch."""
    cell.scripts.now_ms = 1_000_000
    epoch = await cell.worker(worker, holds=[REF])
    await cell.place(*items)
    await cell.begin(worker, epoch, (await cell.read(worker))[:begin]) if begin else None
    cell.scripts.now_ms += LEASE_MS
    return epoch


async def test_no_worker_is_reaped_before_its_lease_has_expired(cell: Cell) -> None:
    """Not a millisecond early."""
    await dead(cell, placing())
    cell.scripts.now_ms -= 1
    assert await cell.reap() is None
    cell.scripts.now_ms += 1
    assert await cell.reap() == ("w1", 0)
    assert await cell.reap() is None


async def test_nothing_of_the_dead_is_left(cell: Cell) -> None:
    """Lease, record, residency, stream and starts."""
    await dead(cell, placing(), begin=1)
    await cell.reap()
    keys = cell.keys
    assert await cell.exists(
        keys.workers, keys.worker("w1"), keys.holds("w1"), keys.holders(REF), keys.work("w1"),
        keys.started("w1"),
    ) == []  # fmt: skip


async def test_its_requests_go_to_another_holder(cell: Cell) -> None:
    """With everything they had, first those that had not begun; only what had begun counts an
    attempt. Records say where."""
    items = [kept(body=b"1"), placing(body=b"2")]
    await dead(cell, *items, begin=1)
    await cell.worker("w2", holds=[REF])
    before = await cell.record(items[0].id)
    await cell.reap()
    second, first = await cell.stream(cell.keys.work("w2"))
    assert first.fields.items() >= {
        "id": items[0].id.encode(), "body": b"1", "flags": b"kp", "attempts": b"1",
        "deadline": before["deadline"],
    }.items()  # fmt: skip
    assert (second.fields["reply"], second.fields["attempts"]) == (b"gw1", b"0")
    record = await cell.record(items[0].id)
    assert (record["stream"], record["entry"]) == (cell.keys.work("w2").encode(), first.entry)
    assert record["status"] == b"placed"


async def test_without_another_holder_they_wait_for_a_load(cell: Cell) -> None:
    """Which is ordered once; they are known to be cold, and have records by which they expire."""
    item = placing()
    await dead(cell, item, placing())
    await cell.reap()
    assert len(await cell.stream(cell.keys.parked(REF))) == 2
    assert len(await cell.orders()) == 1
    assert (await cell.record(item.id))["status"] == b"parked"


async def test_a_request_that_cannot_be_loaded_any_more_fails_with_the_cause(cell: Cell) -> None:
    """It is not dropped, and does not wait for its deadline."""
    await cell.gateway()
    await dead(cell, placing(), kept())
    await cell.client.set(cell.keys.unloadable(REF), "corrupt its hash is wrong", px=10_000)
    await cell.reap()
    assert [r["outcome"] for r in await cell.replies()] == [b"corrupt its hash is wrong"]
    assert await cell.exists(cell.keys.parked(REF), cell.keys.deadlines) == []


async def test_a_request_that_killed_its_workers_becomes_a_dead_letter(cell: Cell) -> None:
    """After as many starts as are allowed; its payload, cause and last worker are kept."""
    await cell.gateway()
    item = kept(reply="gw1", body=b"poison")
    innocent = placing(body=b"innocent")
    for round_ in range(MAX_ATTEMPTS):
        await dead(cell, *([item] if round_ == 0 else []), begin=1)
        if round_ == MAX_ATTEMPTS - 1:
            await cell.place(innocent)
        await cell.reap()
    (letter,) = await cell.stream(cell.keys.dead_letters)
    cause = b"dead_lettered after 3 starts: the lease of its worker expired"
    assert letter.fields == {
        "kind": b"request", "id": item.id.encode(), "model": REF.encode(), "worker": b"w1",
        "fingerprint": hashlib.sha1(b"poison").hexdigest().encode(), "attempts": b"3",
        "cause": cause, "body": b"poison",
    }  # fmt: skip
    assert (await cell.record(item.id))["outcome"] == cause
    assert [(r["status"], r["outcome"]) for r in await cell.replies()] == [(b"failed", cause)]
    assert [e.fields["body"] for e in await cell.stream(cell.keys.parked(REF))] == [b"innocent"]


async def test_a_long_stream_is_moved_in_bounded_chunks(cell: Cell) -> None:
    """The worker is fenced by the first; others may go on; none is lost or doubled."""
    await dead(cell, *[placing() for _ in range(2 * CHUNK + 5)])
    order, copy = 12, 1
    assert await cell.reap() == ("w1", CHUNK + 5 + order + copy)
    assert await cell.exists(cell.keys.worker("w1")) == []
    assert await cell.reap() == ("w1", 5 + order + copy)
    assert await cell.reap() == ("w1", 0)
    assert await cell.client.xlen(cell.keys.parked(REF)) == 2 * CHUNK + 5


async def test_a_worker_that_comes_back_between_two_chunks_loses_nothing(cell: Cell) -> None:
    """Its registration moves the rest."""
    epoch = await dead(cell, *[placing() for _ in range(CHUNK + 5)])
    await cell.reap()
    assert (await cell.scripts.heartbeat("w1", epoch, "one", LEASE_MS, 1, {})).answer == "fenced"
    await cell.worker("w1")
    assert await cell.reap() is None
    assert await cell.client.xlen(cell.keys.parked(REF)) == CHUNK + 5


async def test_a_load_of_the_dead_is_ordered_again(cell: Cell) -> None:
    """Once its lease is over."""
    cell.scripts.now_ms = 1_000_000
    epoch = await cell.worker("w1")
    await cell.place(placing(ref=OTHER_REF))
    token = await cell.claim("w1", epoch, OTHER_REF)
    cell.scripts.now_ms += LEASE_MS
    await cell.reap()
    await cell.client.delete(cell.keys.load(OTHER_REF))  # as its lifetime does
    assert await cell.scripts.sweep() == (0, 1, 0)
    assert await cell.token(OTHER_REF) not in ("", token)


async def test_many_gateways_reap_at_once_and_each_request_is_moved_once(cell: Cell) -> None:
    """Eight reapers over eight connections, 500 requests: as many calls as of one, each id once."""
    items = [placing() for _ in range(500)]
    await dead(cell, *items)
    now, reapers = cell.scripts.now_ms, [open_cell(cell.url, cell.name) for _ in range(8)]

    async def reap_all(own: Cell) -> int:
        own.scripts.now_ms, calls = now, 0
        while await own.reap() is not None:
            calls += 1
        return calls

    try:
        calls = await asyncio.gather(*(reap_all(own) for own in reapers))
    finally:
        for own in reapers:
            await own.close()
    order, copy = 12, 1
    assert sum(calls) == -(-(len(items) + order + copy) // CHUNK)
    ids = [e.fields["id"].decode() for e in await cell.stream(cell.keys.parked(REF))]
    assert sorted(ids) == sorted(item.id for item in items)


async def test_an_entry_that_was_cancelled_is_not_moved(cell: Cell) -> None:
    """Final is final."""
    item = kept()
    await dead(cell, item)
    await cell.cancel(item.id)
    await cell.reap()
    assert await cell.exists(cell.keys.parked(REF)) == []


@pytest.mark.parametrize(
    "written",
    [
        {"foo": "bar"},
        {"id": "x", "model": REF, "body": "", "deadline": "nan"},
        {"id": "x", "model": REF, "body": "", "deadline": "1e400"},
        {"id": "x", "model": REF, "body": "", "deadline": 18 * "9"},
        {"id": "x", "model": REF, "body": "", "deadline": 400 * "9"},
        {"id": "x", "model": REF, "body": "", "deadline": "9000000", "attempts": "nan"},
    ],
)
async def test_garbage_in_a_work_stream_blocks_no_request(
    cell: Cell, written: dict[str, str]
) -> None:
    """Somebody wrote there who must not. It becomes a dead letter; requests and workers go on."""
    cell.scripts.now_ms = 1_000_000
    for name in ("w1", "w2"):
        await cell.worker(name, holds=[REF])
    await cell.client.xadd(cell.keys.work("w1"), dict(written))
    await cell.place(placing(), placing())
    cell.scripts.now_ms += 10_000
    assert {(await cell.reap())[0] for _ in range(2)} == {"w1", "w2"}
    (letter,) = await cell.stream(cell.keys.dead_letters)
    assert (letter.fields["kind"], letter.fields["cause"]) == (b"entry", b"invalid no request")
    assert await cell.client.xlen(cell.keys.parked(REF)) == 2
