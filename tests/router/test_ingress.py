"""The stream door: an entry becomes a request, or is answered and kept as a dead letter."""

from __future__ import annotations

import json

import pytest

from router.catalog import Catalog
from router.ingress import READ_COUNT, Ingress, check_reply_to
from shared import manifest as manifests
from shared.channel import Channel
from shared.envelope import unpack_envelope
from shared.errors import InvalidInput, Overloaded, StoreUnavailable
from shared.keys import Keys
from tests.helpers.factories import manifest
from tests.helpers.repository import FakeRepository

BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]})
REPLY_TO = "answers"


@pytest.fixture
async def door(parts, repository: FakeRepository):
    """The ingress of gateway gw1, in a cell whose model nobody holds."""
    repository.raw = repository.add(manifest())
    channel = Channel(parts.cell.url)
    cell = parts.cell
    yield Ingress(
        channel, cell.keys, cell.scripts, parts.dispatch, Catalog(repository, 60), "gw1", 30.0,
        1 << 20,
    )  # fmt: skip
    await channel.aclose()


async def send(parts, **fields: str | bytes) -> bytes:
    """What a producer writes."""
    usual = {"model": "mnist", "body": BODY, "reply_to": REPLY_TO}
    row = {name: value for name, value in {**usual, **fields}.items() if value is not None}
    return await parts.cell.client.xadd(parts.cell.keys.ingress, row)


async def parked(parts, repository) -> list:
    ref = manifests.ref_of(manifest(), repository.raw)
    return await parts.cell.stream(parts.cell.keys.parked(str(ref)))


async def test_an_entry_becomes_a_request(parts, door, repository) -> None:
    """Kept for pollers, with where to answer, and gone from the door."""
    await send(parts, id="mine", timeout="5000000")
    assert await door.run_once() == 1
    (entry,) = await parked(parts, repository)
    envelope = unpack_envelope(entry.fields["body"])
    assert (envelope.id, envelope.inputs[0].shape) == ("mine", [1, 2])
    record = await parts.cell.record(entry.fields["id"].decode())
    assert (record["reply_to"], record["flags"]) == (REPLY_TO.encode(), b"kpc")
    assert await parts.cell.client.xlen(parts.cell.keys.ingress) == 0


async def test_the_fields_win_over_the_body(parts, door, repository) -> None:
    """Without an id field the body's own is used."""
    await send(parts, body=BODY[:-1] + ', "id": "inner"}')
    await send(parts, body=BODY[:-1] + ', "id": "inner"}', id="outer", version="1")
    await door.run_once()
    ids = [unpack_envelope(e.fields["body"]).id for e in await parked(parts, repository)]
    assert ids == ["inner", "outer"]


BAD = {
    "no model": ({"model": None}, "invalid", "model"),
    "no body": ({"body": None}, "invalid", "body"),
    "unknown field": ({"colour": "red"}, "invalid", "colour"),
    "unknown model": ({"model": "nobody"}, "not_found", "nobody"),
    "bad model": ({"model": "../etc"}, "invalid", "model name"),
    "binary model": ({"model": b"\xff\xfe"}, "invalid", "model name"),
    "bad version": ({"version": "x"}, "not_found", "version"),
    "unknown version": ({"version": "9"}, "not_found", "version 9"),
    "bad body": ({"body": "{"}, "invalid", "body"),
    "binary body": ({"body": b'{"inputs": [{"name": "\xff"}]}'}, "invalid", "body"),
    "wrong input": ({"body": BODY.replace('"x"', '"q"')}, "invalid", "inputs['q']"),
    "large body": ({"body": b" " * ((1 << 20) + 1)}, "too_large", "body"),
    "long id": ({"id": "i" * 300}, "too_large", "id"),
    "bad timeout": ({"timeout": "-1"}, "invalid", "timeout"),
    "no timeout": ({"timeout": "0"}, "invalid", "timeout"),
    "huge timeout": ({"timeout": "9" * 15}, "invalid", "timeout"),
}


@pytest.mark.parametrize("case", BAD)
async def test_what_can_be_no_request_is_answered_and_buried(parts, door, case: str) -> None:
    """With the field named; nothing stays pending, and what comes next is taken."""
    changes, code, named = BAD[case]
    entry = await send(parts, **changes)
    assert await door.run_once() == 1
    (answer,) = await parts.cell.stream(REPLY_TO)
    assert (answer.fields["status"], answer.fields["code"]) == (b"failed", code.encode())
    assert named in answer.fields["error"].decode()
    (letter,) = await parts.cell.stream(parts.cell.keys.dead)
    assert letter.fields["entry"] == entry
    assert await parts.cell.client.xlen(parts.cell.keys.ingress) == 0
    await send(parts)
    assert await door.run_once() == 1


@pytest.mark.parametrize("name", ["{C}:ingress", "{C}:work:w1", "{C}", "a b", "a" * 257, "\n", "ä"])
async def test_an_answer_cannot_be_sent_into_our_own_keys(parts, door, name: str) -> None:
    """Such an entry is buried without an answer."""
    reply_to = name.replace("{C}", parts.cell.keys.prefix)
    await send(parts, reply_to=reply_to)
    await door.run_once()
    (letter,) = await parts.cell.stream(parts.cell.keys.dead)
    assert b"reply_to" in letter.fields["error"]
    ours = reply_to.startswith(parts.cell.keys.prefix + ":")
    assert not ours or await parts.cell.client.xlen(reply_to) == 0


def test_answers_may_go_to_a_stream_of_the_callers_or_under_answers() -> None:
    """Or nowhere."""
    keys = Keys("c")
    for name in ("", "mine", "{other}:mine", "{c}:answers:mine"):
        assert check_reply_to(name.encode(), keys) == name
    with pytest.raises(InvalidInput, match="reply_to"):
        check_reply_to(b"{c}:answersx", keys)


@pytest.mark.parametrize("error", [StoreUnavailable("away"), Overloaded("full")])
async def test_an_entry_that_cannot_be_taken_now_waits(parts, door, repository, error) -> None:
    """It stays pending, and comes first when things are better. The door itself has not failed:
    its loop would wait longer each time, and make the gateway unready."""
    await send(parts)
    if isinstance(error, Overloaded):
        parts.placement._limits = parts.placement._limits._replace(parked=0)
    else:
        repository.error = error
    assert await door.run_once() == 1
    assert await parts.cell.client.xlen(parts.cell.keys.ingress) == 1
    parts.placement._limits = parts.placement._limits._replace(parked=10)
    repository.error = None
    assert await door.run_once() == 1
    assert len(await parked(parts, repository)) == 1


async def test_a_full_model_does_not_hold_up_the_others(parts, door, repository) -> None:
    """Entries behind one that must wait are taken."""
    raw = repository.add(manifest(name="other"))
    parts.placement._limits = parts.placement._limits._replace(parked=1)
    for _ in range(2):
        await send(parts)
    await door.run_once()
    await send(parts, model="other")
    await door.run_once()
    other = str(manifests.ref_of(manifest(name="other"), raw))
    assert await parts.cell.client.xlen(parts.cell.keys.parked(other)) == 1


async def test_many_entries_are_taken_in_rounds(parts, door, repository) -> None:
    """Each once."""
    for n in range(READ_COUNT + 3):
        await send(parts, id=str(n))
    assert [await door.run_once() for _ in range(2)] == [READ_COUNT, 3]
    ids = [unpack_envelope(e.fields["body"]).id for e in await parked(parts, repository)]
    assert sorted(ids, key=int) == [str(n) for n in range(READ_COUNT + 3)]
