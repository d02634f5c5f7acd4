"""Dead letters as another hand, or another release, has written them."""

from __future__ import annotations

from router.requests.dead_letters import DeadLetters
from tests.helpers.cell import WIDE, Cell


async def test_a_letter_that_another_hand_wrote_hides_no_other(cell: Cell) -> None:
    """What cannot be read of it is left out: a count that is none, a name that is not text, a time
    that no calendar has."""
    dead = DeadLetters(cell.client, cell.keys, cell.scripts, WIDE, 30.0)
    for fields in ({"kind": "request", "id": "a"}, {"attempts": "many"}, {b"\xff": "x"}):
        await cell.client.xadd(cell.keys.dead_letters, fields)
    await cell.client.xadd(cell.keys.dead_letters, {"kind": "entry"}, id="9" * 18 + "-1")
    letters, _ = await dead.newest(10)
    shown = [letter.document() for letter in letters]
    assert [letter["attempts"] for letter in shown] == [0] * 4 and shown[-1]["id"] == "a"
    for letter in letters:
        assert (await dead.get(letter.entry)).full_document()["entry"] == letter.entry
