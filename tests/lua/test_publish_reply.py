"""publish_reply.lua: a rendered outcome is written to the stream that its producer named, once."""

from __future__ import annotations

import asyncio
import hashlib

from shared import statuses
from tests.helpers.cell import Cell, open_cell

LIFE_MS = 60_000
ANSWER = ["request", "f" * 32, "status", "succeeded", "model", "mnist", "body", "{}"]
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
    replied = await cell.scripts.publish_reply(door, entry, reply_to, LIFE_MS, dead, FIELDS)
    return replied.status == statuses.ANSWERED


async def refusal(cell: Cell, entry: str, reply_to: str, door: str = "ingress") -> str:
    """Why an answer could not be written."""
    replied = await cell.scripts.publish_reply(door, entry, reply_to, LIFE_MS, False, ANSWER)
    assert replied.status == statuses.REFUSED
    return replied.why


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
    replied = await cell.scripts.publish_reply("outbox", entry, "", LIFE_MS, False, [])
    assert replied.status == statuses.ANSWERED
    assert await cell.client.xlen(cell.keys.outbox) == 0


async def test_a_key_that_is_no_stream_is_left_alone(cell: Cell) -> None:
    """A hostile or mistaken reply_to destroys nothing, stops nothing, and is no silence: the entry
    is a dead letter with the cause."""
    await cell.client.set("precious", "value", px=LIFE_MS)
    entry = await door_entry(cell, model="mnist", body="{}")
    assert await refusal(cell, entry, "precious") == "it is a string, not a stream"
    assert await cell.client.get("precious") == b"value"
    assert await cell.client.xlen(cell.keys.ingress) == 0
    (letter,) = await cell.stream(cell.keys.dead_letters)
    assert (letter.fields["kind"], letter.fields["body"]) == (b"entry", b"{}")
    assert b"reply_to was refused: it is a string" in letter.fields["cause"]


async def test_a_stream_that_takes_no_more_entries_stops_nothing(cell: Cell) -> None:
    """Its last id is the last there is. The answer can still be polled; the letter says where."""
    await cell.client.xadd("exhausted", {"a": 1}, id="18446744073709551615-18446744073709551615")
    await cell.client.pexpire("exhausted", LIFE_MS)
    entry = await door_entry(cell, "outbox")
    assert "exhausted" in await refusal(cell, entry, "exhausted", "outbox")
    assert await cell.client.xlen(cell.keys.outbox) == 0
    (letter,) = await cell.stream(cell.keys.dead_letters)
    assert letter.fields.items() >= {
        "kind": b"request", "id": b"f" * 32, "model": b"mnist", "reply_to": b"exhausted",
        "status": b"succeeded",
    }.items()  # fmt: skip


async def test_an_acl_that_forbids_the_stream_is_no_silence(cell: Cell) -> None:
    """A user that may use the keys of the cell only: nothing is deleted before it is known."""
    name = f"limited-{cell.name}"
    await cell.client.execute_command(
        "ACL", "SETUSER", name, "on", ">secret", f"~{cell.keys.prefix}", f"~{cell.keys.prefix}:*",
        "+@all",
    )  # fmt: skip
    limited = open_cell(cell.url.replace("redis://", f"redis://{name}:secret@"), cell.name)
    try:
        entries = [await door_entry(cell, "outbox") for _ in range(2)]
        assert await refusal(limited, entries[0], "my-answers", "outbox")
        allowed = f"{cell.keys.answers}mine"
        assert await answer(limited, entries[1], allowed, "outbox")
    finally:
        await limited.close()
        await cell.client.execute_command("ACL", "DELUSER", name)
    assert await cell.client.xlen(cell.keys.outbox) == 0
    (letter,) = await cell.stream(cell.keys.dead_letters)
    assert letter.fields["cause"].startswith(b"invalid reply_to was refused: ")
    assert await cell.exists("my-answers") == []


async def test_a_stream_that_was_there_keeps_its_lifetime(cell: Cell) -> None:
    """One without an end, one with an end of its own; one that the cell made is kept for as long
    after each answer, unless its producer made it last."""
    await cell.client.xadd("orders", {"a": 1})
    await cell.client.xadd("brief", {"a": 1})
    await cell.client.pexpire("brief", LIFE_MS // 2)
    for name in ("orders", "brief", "own", "kept"):
        assert await answer(cell, await door_entry(cell), reply_to=name)
    await cell.client.pexpire("own", LIFE_MS // 2)
    await cell.client.persist("kept")
    for name in ("own", "kept"):
        assert await answer(cell, await door_entry(cell), reply_to=name)
    left = {name: await cell.client.pttl(name) for name in ("orders", "brief", "own", "kept")}
    await cell.client.delete("orders", "kept")
    assert left["orders"] == left["kept"] == -1
    assert 0 < left["brief"] <= LIFE_MS // 2 < left["own"]


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
    await cell.client.delete("answers")  # it was there before: the cell gives it no lifetime
