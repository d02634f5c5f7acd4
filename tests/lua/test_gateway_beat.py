"""gateway_beat.lua: a gateway's lease is renewed, and what dead ones had in hand is taken back."""

from __future__ import annotations

import asyncio

import pytest

from shared.constants import LEAP_SPARE_MS
from shared.script_runner import CHUNK
from tests.helpers.cell import LEASE_MS, Cell, open_cell
from tests.helpers.factories import kept


async def take(cell: Cell, door: str, gateway: str) -> list[bytes]:
    """Read new entries of a door as one gateway, without finishing them; their ids."""
    answer = await cell.channel.execute_command(
        "XREADGROUP", "GROUP", "g", gateway, "COUNT", 1000, "STREAMS", door, ">"
    )
    return [entry for entry, _ in answer[0][1]] if answer else []


async def die(cell: Cell, *gateways: str) -> None:
    """Their leases run out."""
    await cell.client.zadd(cell.keys.gateways, dict.fromkeys(gateways, 0))


async def test_a_gateway_gets_a_lease_a_reply_stream_and_its_doors(cell: Cell) -> None:
    """The reply stream outlives the lease: who was cut off finds its callers' answers."""
    cell.scripts.now_ms = 1_000_000
    assert await cell.gateway("gw1", 5000) == 0
    assert await cell.client.zscore(cell.keys.gateways, "gw1") == 1_005_000
    assert LEAP_SPARE_MS < await cell.client.pttl(cell.keys.replies("gw1")) <= LEAP_SPARE_MS + 5000
    for door in (cell.keys.ingress, cell.keys.outbox):
        assert [g["name"] for g in await cell.client.xinfo_groups(door)] == [b"g"]


async def test_a_beat_renews_and_keeps_the_replies(cell: Cell) -> None:
    """Nothing that waits to be read is lost."""
    await cell.gateway("gw1", 5000)
    await cell.client.xadd(cell.keys.replies("gw1"), {"id": "x"})
    await cell.gateway("gw1", 60_000)
    assert await cell.client.pttl(cell.keys.replies("gw1")) > LEAP_SPARE_MS + 5000
    assert len(await cell.replies("gw1")) == 1


@pytest.mark.parametrize("door", ["ingress", "outbox"])
async def test_entries_added_before_any_gateway_was_up_are_read(cell: Cell, door: str) -> None:
    """A producer may come first: the group begins at the beginning of the stream."""
    key = getattr(cell.keys, door)
    entry = await cell.client.xadd(key, {"model": "mnist"})
    await cell.gateway()
    assert await take(cell, key, "gw1") == [entry]


async def test_a_lost_group_is_made_again(cell: Cell) -> None:
    """Also if somebody else reads the door with a group of his own."""
    await cell.gateway()
    await cell.client.xgroup_destroy(cell.keys.ingress, "g")
    await cell.client.xgroup_create(cell.keys.ingress, "audit", "0")
    entry = await cell.client.xadd(cell.keys.ingress, {"model": "mnist"})
    await cell.gateway()
    assert await take(cell, cell.keys.ingress, "gw1") == [entry]


async def test_entries_in_the_hands_of_a_dead_gateway_come_back(cell: Cell) -> None:
    """As new entries with the same fields; the dead one is forgotten altogether."""
    for gateway in ("gw1", "gw2"):
        await cell.gateway(gateway)
    await cell.client.xadd(cell.keys.ingress, {"model": "mnist", "body": "{}"})
    await cell.client.xadd(cell.keys.outbox, {"id": "f" * 32})
    for door in (cell.keys.ingress, cell.keys.outbox):
        assert len(await take(cell, door, "gw1")) == 1
    await die(cell, "gw1")
    assert await cell.gateway("gw2") == 2
    (entry,) = await cell.stream(cell.keys.ingress)
    assert entry.fields == {"model": b"mnist", "body": b"{}"}
    assert await take(cell, cell.keys.ingress, "gw2") == [entry.entry]
    assert len(await take(cell, cell.keys.outbox, "gw2")) == 1
    assert await cell.client.zscore(cell.keys.gateways, "gw1") is None
    # It may only have been cut off.
    assert 0 < await cell.client.pttl(cell.keys.replies("gw1")) <= 60_000
    names = [c["name"] for c in await cell.client.xinfo_consumers(cell.keys.ingress, "g")]
    assert names == [b"gw2"]


async def test_a_living_gateway_keeps_what_it_has_in_hand(cell: Cell) -> None:
    """However long it takes."""
    await cell.gateway("gw1")
    await cell.client.xadd(cell.keys.ingress, {"model": "mnist"})
    await take(cell, cell.keys.ingress, "gw1")
    assert await cell.gateway("gw2") == 0
    assert (await cell.client.xpending(cell.keys.ingress, "g"))["pending"] == 1


async def test_many_entries_come_back_in_bounded_chunks(cell: Cell) -> None:
    """The dead one stays listed until the last; none is lost or doubled."""
    await cell.gateway("gw1")
    for n in range(CHUNK + 20):
        await cell.client.xadd(cell.keys.ingress, {"n": n})
    await take(cell, cell.keys.ingress, "gw1")
    await die(cell, "gw1")
    assert [await cell.gateway("gw2") for _ in range(3)] == [CHUNK, 20, 0]
    entries = await cell.stream(cell.keys.ingress)
    assert sorted(int(e.fields["n"]) for e in entries) == list(range(CHUNK + 20))
    assert await cell.client.zscore(cell.keys.gateways, "gw1") is None


async def test_an_entry_that_was_finished_but_not_forgotten_is_only_forgotten(cell: Cell) -> None:
    """It was deleted; nothing comes back."""
    await cell.gateway("gw1")
    entry = await cell.client.xadd(cell.keys.ingress, {"model": "mnist"})
    await take(cell, cell.keys.ingress, "gw1")
    await cell.client.xdel(cell.keys.ingress, entry)
    await die(cell, "gw1")
    assert await cell.gateway("gw2") == 0
    assert (await cell.client.xpending(cell.keys.ingress, "g"))["pending"] == 0


async def test_a_dead_gateway_cannot_place_a_returned_entry(cell: Cell) -> None:
    """Its entry id is worthless: the request is accepted once."""
    await cell.gateway("gw1")
    await cell.client.xadd(cell.keys.ingress, {"model": "mnist"})
    (old,) = await take(cell, cell.keys.ingress, "gw1")
    await die(cell, "gw1")
    await cell.gateway("gw2")
    (new,) = await take(cell, cell.keys.ingress, "gw2")
    zombie, successor = await cell.place(kept(ingress=old.decode()), kept(ingress=new.decode()))
    assert (zombie.status, successor.status) == ("duplicate", "parked")


async def test_an_entry_of_thousands_of_fields_is_buried_not_stumbled_over(cell: Cell) -> None:
    """Lua could not copy it. It can be no request: it becomes a dead letter, and beats go on."""
    await cell.gateway("gw1")
    bomb = await cell.client.xadd(cell.keys.ingress, {f"f{n}": n for n in range(10_000)})
    await cell.client.xadd(cell.keys.ingress, {"model": "mnist"})
    await take(cell, cell.keys.ingress, "gw1")
    await die(cell, "gw1")
    assert await cell.gateway("gw2") == 1
    assert [e.fields for e in await cell.stream(cell.keys.ingress)] == [{"model": b"mnist"}]
    (letter,) = await cell.stream(cell.keys.dead_letters)
    assert letter.fields["entry"] == bomb
    assert letter.fields["cause"] == b"invalid has 10000 fields"


async def test_many_gateways_return_entries_at_once_and_each_comes_once(cell: Cell) -> None:
    """Ten beats over ten connections."""
    await cell.gateway("gw1")
    for n in range(100):
        await cell.client.xadd(cell.keys.ingress, {"n": n})
    await take(cell, cell.keys.ingress, "gw1")
    await die(cell, "gw1")
    others = [open_cell(cell.url, cell.name) for _ in range(10)]
    try:
        beats = (own.gateway(f"other{n}", LEASE_MS) for n, own in enumerate(others))
        assert sum(await asyncio.gather(*beats)) == 100
    finally:
        for own in others:
            await own.close()
    entries = await cell.stream(cell.keys.ingress)
    assert sorted(int(e.fields["n"]) for e in entries) == list(range(100))


async def test_entries_of_a_gateway_in_no_list_are_returned(cell: Cell) -> None:
    """Forgotten while its read was blocked at the server, it was given one more entry; and died."""
    await cell.gateway("gw1")
    await die(cell, "gw1")
    await cell.gateway("gw2")
    entry = await cell.client.xadd(cell.keys.outbox, {"id": "1", "to": "a"})
    await take(cell, cell.keys.outbox, "gw1")
    assert await cell.gateway("gw2") == 1
    (back,) = await cell.stream(cell.keys.outbox)
    assert back.entry != entry and back.fields == {"id": b"1", "to": b"a"}
    assert [c["name"] for c in await cell.client.xinfo_consumers(cell.keys.outbox, "g")] == []


async def test_a_door_that_takes_nothing_more_loses_nothing(cell: Cell) -> None:
    """A producer has used the last id there is: what a dead gateway had read stays pending."""
    await cell.gateway("gw1")
    await cell.client.xadd(cell.keys.ingress, {"model": "mnist"})
    last = "18446744073709551615-18446744073709551615"
    await cell.client.xadd(cell.keys.ingress, {"model": "mnist"}, id=last)
    await take(cell, cell.keys.ingress, "gw1")
    await die(cell, "gw1")
    assert await cell.gateway("gw2") == 0
    assert await cell.client.xlen(cell.keys.ingress) == 2
