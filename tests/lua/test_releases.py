"""Processes of different releases beside each other: who may join, and what a moved entry keeps."""

from __future__ import annotations

import pytest

from shared.errors import ConfigError
from shared.scripts import Scripts
from tests.helpers.cell import LEASE_MS, MAX_ATTEMPTS, WIDE, Cell, Entry
from tests.helpers.factories import REF, kept, placing, request_id

NEWER = {"tenant": "a", "cost": "7"}


def release(cell: Cell, writes: int, reads: int) -> Scripts:
    """The scripts as a release with these protocol numbers calls them."""
    scripts = Scripts(cell.channel, cell.keys)
    scripts.protocol = (writes, reads)
    return scripts


async def join(scripts: Scripts, process: str, name: str, lease_ms: int = LEASE_MS) -> None:
    if process == "worker":
        await scripts.register(name, lease_ms, MAX_ATTEMPTS, {"state": "ready"})
    else:
        await scripts.gateway_beat(name, lease_ms)


BOTH = pytest.mark.parametrize("there", ["worker", "gateway"])
JOINS = pytest.mark.parametrize("joins", ["worker", "gateway"])


@BOTH
@JOINS
async def test_neighbouring_releases_work_beside_each_other(
    cell: Cell, there: str, joins: str
) -> None:
    """The newer one reads what the older one writes, and says so; in either order."""
    for old, new in ((1, 2), (2, 1)):
        await join(release(cell, old, 1), there, f"a{old}")
        await join(release(cell, new, 1), joins, f"b{new}")


@BOTH
@JOINS
async def test_the_error_of_a_process_that_is_too_old_has_both_numbers(
    cell: Cell, there: str, joins: str
) -> None:
    """It leaves nothing behind."""
    await join(release(cell, 3, 2), there, "there")
    before = {key async for key in cell.client.scan_iter("*")}
    words = (
        f"protocol: this {joins} writes 1 and reads 1 to 1, {there} there writes 3 and reads 2 to "
        f"3; this {joins} is too old: start a release with protocol 2 or newer"
    )
    with pytest.raises(ConfigError) as caught:
        await join(release(cell, 1, 1), joins, "joins")
    assert caught.value.message == words
    assert {key async for key in cell.client.scan_iter("*")} == before


@BOTH
@JOINS
async def test_the_error_of_a_process_that_is_too_new_names_the_upgrade(
    cell: Cell, there: str, joins: str
) -> None:
    """The older one goes on; when its lease has run out it stands in the way no longer."""
    cell.scripts.now_ms = 1_000_000
    old, new = release(cell, 1, 1), release(cell, 3, 2)
    old.now_ms = new.now_ms = 1_000_000
    await join(old, there, "there")
    with pytest.raises(ConfigError, match=f"{there} there is too old: upgrade it to protocol 2"):
        await join(new, joins, "joins")
    new.now_ms += LEASE_MS + 1
    await join(new, joins, "joins")


async def test_a_process_replaces_its_own_older_self(cell: Cell) -> None:
    """The same worker id, or a gateway that renews its lease, is not compared with itself."""
    await join(release(cell, 1, 1), "worker", "w1")
    await join(release(cell, 3, 2), "worker", "w1")
    await join(release(cell, 3, 2), "gateway", "gw1")
    await cell.client.hset(cell.keys.worker("w1"), "protocol", "1 1")
    await join(release(cell, 3, 2), "gateway", "gw1")


@pytest.mark.parametrize("said", [None, "", "x", "1", "1 2 3"])
async def test_a_process_that_says_nothing_has_protocol_one(cell: Cell, said: str | None) -> None:
    """So does one that says what cannot be read."""
    await cell.worker("w1")
    await cell.client.hdel(cell.keys.worker("w1"), "protocol")
    if said is not None:
        await cell.client.hset(cell.keys.worker("w1"), "protocol", said)
    await join(release(cell, 2, 1), "gateway", "gw1")
    with pytest.raises(ConfigError, match="w1 writes 1 and reads 1"):
        await join(release(cell, 3, 2), "gateway", "gw2")


async def newer(cell: Cell, stream: str, entry: bytes) -> bytes:
    """The same entry as a newer release writes it, with fields that are not known here."""
    ((_, fields),) = await cell.client.xrange(stream, entry, entry)
    await cell.client.xdel(stream, entry)
    made: bytes = await cell.client.xadd(stream, {**fields, **NEWER})
    record = cell.keys.request(fields[b"id"].decode())
    if await cell.client.exists(record):
        await cell.client.hset(record, "entry", made)
    return made


def carried(entry: Entry) -> dict[str, str]:
    return {name: entry.fields[name].decode() for name in NEWER if name in entry.fields}


async def test_what_is_parked_keeps_the_fields_of_a_newer_release(cell: Cell) -> None:
    """`announce` moves it to a work stream."""
    item = kept()
    await cell.place(item)
    parked = (await cell.record(item.id))["entry"]
    await newer(cell, cell.keys.parked(REF), parked)
    epoch = await cell.worker("w1")
    await cell.scripts.announce("w1", epoch, REF, await cell.claim("w1", epoch), "device 1")
    (entry,) = await cell.read()
    assert carried(entry) == NEWER
    assert (entry.fields["id"], entry.fields["body"]) == (item.id.encode(), b"body")


@pytest.mark.parametrize("end", ["leave", "fence_worker", "register", "reap"])
async def test_what_moves_keeps_the_fields_of_a_newer_release(cell: Cell, end: str) -> None:
    """To another holder, whichever script moves it; and one that lacks fields moves too."""
    cell.scripts.now_ms = 1_000_000
    epoch = await cell.worker("w1", holds=[REF])
    (placed,) = await cell.place(placing())
    await newer(cell, cell.keys.work("w1"), placed.entry.encode())
    old = {"id": request_id(), "model": REF, "deadline": 1_060_000, "body": "b"}
    await cell.client.xadd(cell.keys.work("w1"), old)
    await cell.worker("w2", holds=[REF], lease_ms=10 * LEASE_MS)
    if end == "leave":
        await cell.scripts.leave("w1", epoch, MAX_ATTEMPTS)
    elif end == "fence_worker":
        await cell.scripts.fence_worker("w1", epoch, 0, "died", MAX_ATTEMPTS)
    elif end == "register":
        await cell.worker("w1")
    else:
        cell.scripts.now_ms += LEASE_MS + 1
        await cell.reap()
    first, second = await cell.read("w2")
    assert (carried(first), carried(second)) == (NEWER, {})
    assert second.fields["attempts"] == b"0"


async def test_a_dead_letter_and_its_replay_keep_the_fields_of_a_newer_release(cell: Cell) -> None:
    """Also those that are called like a field of the letter."""
    epoch = await cell.worker("w1", holds=[REF])
    (placed,) = await cell.place(placing())
    made = await newer(cell, cell.keys.work("w1"), placed.entry.encode())
    ((_, fields),) = await cell.client.xrange(cell.keys.work("w1"), made, made)
    await cell.client.xdel(cell.keys.work("w1"), made)
    await cell.client.xadd(cell.keys.work("w1"), {**fields, "attempts": 3, "worker": "mine"})
    await cell.scripts.fence_worker("w1", epoch, 0, "died", MAX_ATTEMPTS)
    (letter,) = await cell.stream(cell.keys.dead_letters)
    assert (letter.fields["worker"], letter.fields["entry.worker"]) == (b"w1", b"mine")
    await cell.worker("w2", holds=[REF])
    assert (
        await cell.scripts.replay(letter.entry.decode(), request_id(), 60_000, WIDE)
    ).status == "placed"
    (entry,) = await cell.read("w2")
    assert carried(entry) == NEWER
    assert entry.fields["worker"] == b"mine"


async def test_a_dead_letter_of_the_door_keeps_what_was_sent(cell: Cell) -> None:
    """An older gateway refuses a newer producer's field; after an upgrade it can be replayed."""
    sent = {"model": "mnist", "body": "{}", **NEWER}
    await cell.gateway("gw1")
    entry = (await cell.client.xadd(cell.keys.ingress, sent)).decode()
    await cell.scripts.publish_reply("ingress", entry, "", 1000, True, ["code", "invalid"])
    (letter,) = await cell.stream(cell.keys.dead_letters)
    answer = await cell.scripts.replay(letter.entry.decode(), request_id(), 60_000, WIDE)
    assert answer.status == "ingress"
    (back,) = await cell.stream(cell.keys.ingress)
    assert {name: value.decode() for name, value in back.fields.items()} == sent


async def test_an_entry_of_far_too_many_fields_is_not_moved(cell: Cell) -> None:
    """It would stop the script in the middle: Lua passes some thousands of values at most."""
    epoch = await cell.worker("w1", holds=[REF])
    (placed,) = await cell.place(placing())
    ((_, fields),) = await cell.client.xrange(cell.keys.work("w1"), placed.entry, placed.entry)
    many = {f"field{n}": "x" for n in range(5000)}
    await cell.client.xadd(cell.keys.work("w1"), {**fields, **many})
    await cell.worker("w2", holds=[REF])
    assert await cell.scripts.leave("w1", epoch, MAX_ATTEMPTS)
    assert [e.fields["kind"] for e in await cell.stream(cell.keys.dead_letters)] == [b"entry"]
    assert len(await cell.read("w2")) == 1
