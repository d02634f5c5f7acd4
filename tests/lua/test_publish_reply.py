"""publish_reply.lua: a rendered outcome is written to the stream that its producer named, once."""

from __future__ import annotations

import asyncio
import hashlib

from tests.helpers.cell import Cell, open_cell

LIFE_MS = 60_000
FIELDS = ["status", "failed", "error", "no such model"]


async def door_entry(cell: Cell, door: str = "ingress", **fields: str) -> str:
    """An entry of a door that gateway gw1 has in hand."""
    await cell.gateway()
    key = getattr(cell.keys, door)
    entry = await cell.client.xadd(key, fields or {"id": "f" * 32})
    await cell.client.xreadgroup("g", "gw1", {key: ">"})
    return entry.decode()


async def answer(
    cell: Cell, entry: str, reply_to: str = "answers", door: str = "ingress", dead: bool = False
) -> bool:
    return await cell.scripts.publish_reply(door, entry, reply_to, LIFE_MS, dead, FIELDS)


async def test_the_answer_is_written_and_the_entry_goes(cell: Cell) -> None:
    """The producer's stream has a lifetime; nothing is pending any more."""
    for door in ("ingress", "outbox"):
        entry = await door_entry(cell, door)
        assert await answer(cell, entry, door=door)
        key = getattr(cell.keys, door)
        assert await cell.client.xlen(key) == 0
        assert (await cell.client.xpending(key, "g"))["pending"] == 0
    answers = await cell.stream("answers")
    assert [a.fields for a in answers] == [{"status": b"failed", "error": b"no such model"}] * 2
    assert 0 < await cell.client.pttl("answers") <= LIFE_MS
    assert await cell.exists(cell.keys.dead_letters) == []


async def test_it_is_answered_once(cell: Cell) -> None:
    """Ten gateways at once over ten connections, one answer."""
    entry = await door_entry(cell)
    others = [open_cell(cell.url, cell.name) for _ in range(10)]
    try:
        won = await asyncio.gather(*(answer(own, entry, dead=True) for own in others))
    finally:
        for own in others:
            await own.close()
    assert sorted(won) == [False] * 9 + [True]
    assert await cell.client.xlen("answers") == 1
    assert await cell.client.xlen(cell.keys.dead_letters) == 1


async def test_a_producer_without_reply_to_gets_nothing(cell: Cell) -> None:
    """The entry goes all the same."""
    entry = await door_entry(cell)
    assert await answer(cell, entry, reply_to="")
    assert await cell.client.xlen(cell.keys.ingress) == 0
    assert await cell.exists("") == []


async def test_an_answer_without_fields_only_takes_the_entry_away(cell: Cell) -> None:
    """An outbox entry whose request is no longer kept."""
    entry = await door_entry(cell, "outbox")
    assert await cell.scripts.publish_reply("outbox", entry, "", LIFE_MS, False, [])
    assert await cell.client.xlen(cell.keys.outbox) == 0


async def test_a_key_that_is_no_stream_is_left_alone(cell: Cell) -> None:
    """A hostile or mistaken reply_to destroys nothing and stops nothing."""
    await cell.client.set("precious", "value", px=LIFE_MS)
    entry = await door_entry(cell)
    assert await answer(cell, entry, reply_to="precious")
    assert await cell.client.get("precious") == b"value"
    assert await cell.client.xlen(cell.keys.ingress) == 0


async def test_a_stream_that_takes_no_more_entries_stops_nothing(cell: Cell) -> None:
    """Its last id is the last there is."""
    await cell.client.xadd("exhausted", {"a": 1}, id="18446744073709551615-18446744073709551615")
    await cell.client.pexpire("exhausted", LIFE_MS)
    entry = await door_entry(cell)
    assert await answer(cell, entry, reply_to="exhausted")
    assert await cell.client.xlen(cell.keys.ingress) == 0


async def test_a_dead_letter_keeps_what_was_sent_and_why_it_was_refused(cell: Cell) -> None:
    """So that it can be looked at, mended and sent again."""
    entry = await door_entry(cell, model="no-such", body='{"inputs": []}')
    assert await answer(cell, entry, dead=True)
    (letter,) = await cell.stream(cell.keys.dead_letters)
    assert letter.fields == {
        "kind": b"entry", "entry": entry.encode(), "cause": b"invalid no such model",
        "model": b"no-such", "body": b'{"inputs": []}',
        "fingerprint": hashlib.sha1(b'{"inputs": []}').hexdigest().encode(),
    }  # fmt: skip


async def test_no_answer_pushes_out_an_earlier_one(cell: Cell) -> None:
    """A producer may come late; the stream's lifetime bounds it, and nothing else."""
    pipe = cell.client.pipeline(transaction=False)
    for number in range(12_000):
        pipe.xadd("answers", {"n": number})
    await pipe.execute()
    assert await answer(cell, await door_entry(cell))
    assert await cell.client.xlen("answers") == 12_001
