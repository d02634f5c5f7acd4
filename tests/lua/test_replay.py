"""replay: a dead letter becomes a new request, or an entry of the stream door again."""

from __future__ import annotations

from shared.placed import Limits, Placed
from tests.helpers.cell import WIDE, Cell
from tests.helpers.factories import REF, request_id

LETTER = {
    "kind": "request",
    "id": "a" * 32,
    "model": REF,
    "worker": "w1",
    "attempts": 3,
    "body": "b",
}


async def letter(cell: Cell, **changes: str) -> str:
    """A dead letter; its entry."""
    entry: bytes = await cell.client.xadd(cell.keys.dead_letters, {**LETTER, **changes})
    return entry.decode()


async def replay(cell: Cell, entry: str, new: str = "", limits: Limits = WIDE) -> Placed:
    return await cell.scripts.replay(entry, new or request_id(), 60_000, limits)


async def test_it_is_a_new_request_that_can_be_polled(cell: Cell) -> None:
    """With no attempts counted; the letter goes in the same step."""
    await cell.worker("w1", holds=[REF])
    new = request_id()
    assert (await replay(cell, await letter(cell), new)).status == "placed"
    (entry,) = await cell.read()
    assert (entry.fields["id"], entry.fields["body"]) == (new.encode(), b"b")
    assert entry.fields["attempts"] == b"0"
    assert (await cell.record(new))["flags"] == b"kp"
    assert await cell.client.xlen(cell.keys.dead_letters) == 0


async def test_it_is_replayed_once(cell: Cell) -> None:
    """Who comes second finds no letter."""
    entry = await letter(cell)
    assert (await replay(cell, entry)).status == "parked"
    assert (await replay(cell, entry)).status == "unknown"


async def test_without_headroom_the_letter_stays(cell: Cell) -> None:
    """The same bounds as for any request."""
    entry = await letter(cell)
    await replay(cell, await letter(cell))
    assert (await replay(cell, entry, limits=Limits(1, 1, 100))).status == "full"
    assert await cell.client.xlen(cell.keys.dead_letters) == 1


async def test_a_payload_that_was_in_shared_memory_is_not_there_any_more(cell: Cell) -> None:
    """Its caller waited and was answered."""
    entry = await letter(cell, body=b"\xc1some-file")  # type: ignore[arg-type]
    assert (await replay(cell, entry)).status == "unkept"
    assert await cell.client.xlen(cell.keys.dead_letters) == 1


async def test_an_entry_of_the_stream_door_goes_back_into_it(cell: Cell) -> None:
    """With the fields that a producer may give, and no others."""
    given = {"kind": "entry", "entry": "1-1", "cause": "invalid x", "model": "m", "body": "{}"}
    entry = (await cell.client.xadd(cell.keys.dead_letters, given)).decode()
    assert (await replay(cell, entry)).status == "ingress"
    assert [e.fields for e in await cell.stream(cell.keys.ingress)] == [
        {"model": b"m", "body": b"{}"}
    ]
    assert await cell.client.xlen(cell.keys.dead_letters) == 0


async def test_an_entry_whose_body_was_too_large_to_keep_stays_a_letter(cell: Cell) -> None:
    """Without it, it could only fail again."""
    given = {"kind": "entry", "entry": "1-1", "cause": "expired x", "model": "m", "reply_to": "a"}
    entry = (await cell.client.xadd(cell.keys.dead_letters, given)).decode()
    assert (await replay(cell, entry)).status == "unkept"
    assert await cell.client.xlen(cell.keys.dead_letters) == 1
