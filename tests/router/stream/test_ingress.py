"""The stream door: an entry becomes a request, once."""

from __future__ import annotations

from router.stream.ingress import READ_COUNT
from shared.envelope import unpack_envelope
from tests.helpers.stream_door import BODY, REPLY_TO, parked, send


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
    assert sorted(ids) == ["inner", "outer"]


async def test_many_entries_are_taken_in_rounds(parts, door, repository) -> None:
    """Each once."""
    for n in range(READ_COUNT + 3):
        await send(parts, id=str(n))
    assert [await door.run_once() for _ in range(2)] == [READ_COUNT, 3]
    ids = [unpack_envelope(e.fields["body"]).id for e in await parked(parts, repository)]
    assert sorted(ids, key=int) == [str(n) for n in range(READ_COUNT + 3)]


async def test_the_same_id_and_question_is_one_request(parts, door, repository) -> None:
    """Both entries leave the door; the second one's stream is answered too."""
    for reply_to in ("one", "two"):
        await send(parts, id="mine", reply_to=reply_to)
        await door.run_once()
    (entry,) = await parked(parts, repository)
    record = await parts.cell.record(entry.fields["id"].decode())
    assert record["reply_to"].split() == [b"one", b"two"]
    assert await parts.cell.client.xlen(parts.cell.keys.ingress) == 0


async def test_the_same_id_with_another_question_is_refused(parts, door, repository) -> None:
    """The first one stands."""
    await send(parts, id="mine", reply_to="")
    await send(parts, id="mine", body=BODY.replace("[1, 2]}", "[1, 3]}"))
    await door.run_once()
    (answer,) = await parts.cell.stream(REPLY_TO)
    assert (answer.fields["code"], answer.fields["id"]) == (b"key_reused", b"mine")
    assert len(await parked(parts, repository)) == 1
