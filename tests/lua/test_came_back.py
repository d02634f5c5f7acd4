"""An entry id that came back: Redis failed over to a replica that lacks an entry, and whose clock
is behind, and gave its id to another request. Whoever learned it before leaves that one alone.
"""

from __future__ import annotations

import pytest

from shared.placed import Placed
from shared.scripts import Cancel, Completion, Placing, Waiting
from tests.helpers.cell import Cell, Entry
from tests.helpers.factories import REF, placing

STREAM = "work:w1"


class Failover:
    """Worker w1 has read a request, whose entry is lost; the id is that of another request."""

    def __init__(self, cell: Cell, epoch: str, item: Placing, placed: Placed, old: Entry) -> None:
        self.cell, self.epoch, self.item, self.placed, self.old = cell, epoch, item, placed, old

    async def give_again(self, request_id: str) -> None:
        """Its id, to an entry of this request."""
        stream = self.cell.keys.work("w1")
        await self.cell.client.delete(stream)
        await self.cell.client.xgroup_create(stream, self.epoch, id="0", mkstream=True)
        await self.cell.client.xadd(
            stream, {**self.old.fields, "id": request_id}, id=self.old.entry
        )

    @property
    def outcome(self) -> Completion:
        """Of the request that was lost."""
        fields = self.old.fields
        return Completion(self.old.entry, fields["id"], b"gw1", b"", "succeeded", b"42", REF)

    async def left(self) -> int:
        """Entries on the stream."""
        return int(await self.cell.client.xlen(self.cell.keys.work("w1")))


@pytest.fixture
async def failover(cell: Cell) -> Failover:
    """Before it."""
    await cell.gateway()
    epoch, item = await cell.worker("w1", holds=[REF]), placing(flags="")
    (placed,) = await cell.place(item)
    (old,) = await cell.read()
    return Failover(cell, epoch, item, placed, old)


@pytest.mark.parametrize("is_read", [False, True])
@pytest.mark.parametrize("outlived", [False, True])
@pytest.mark.parametrize("same", [False, True])
async def test_an_outcome_ends_its_own_request_only(
    failover: Failover, is_read: bool, outlived: bool, same: bool
) -> None:
    """What this worker has not read is certainly not its own; of what it has read it looks at the
    id, if it learned that over an earlier connection."""
    if outlived is False and is_read and not same:
        pytest.skip("over one connection no id comes back")
    cell = failover.cell
    await failover.give_again(failover.item.id if same else "other")
    if is_read:
        await cell.read()
    won = await cell.scripts.complete("w1", failover.epoch, [failover.outcome], outlived)
    assert won == [int(same and is_read)]
    assert await failover.left() == int(not won[0])
    assert len(await cell.replies()) == won[0]


@pytest.mark.parametrize("same", [False, True])
async def test_a_cancel_ends_its_own_request_only(failover: Failover, same: bool) -> None:
    """Its caller left; another caller waits for what has the id now."""
    await failover.give_again(failover.item.id if same else "other")
    stream, entry = failover.cell.keys.work("w1"), failover.placed.entry
    (said,) = await failover.cell.scripts.cancel(
        [Cancel(failover.item.id, stream, entry, REF, since=0.0)]
    )
    assert said == ("cancelled" if same else "unknown")
    assert await failover.left() == int(not same)


@pytest.mark.parametrize("same", [False, True])
async def test_a_request_that_was_lost_is_not_handed_over(failover: Failover, same: bool) -> None:
    """Its record would name the entry of another one."""
    await failover.give_again(failover.item.id if same else "other")
    item, placed, stream = failover.item, failover.placed, failover.cell.keys.work("w1")
    row = Waiting(item.id, item.ref, placed.deadline_ms, stream, placed.entry, since=0.0)
    assert await failover.cell.scripts.hand_over("gw1", [row]) == [int(same)]
    assert bool(await failover.cell.record(item.id)) == same
    assert await failover.left() == 1


async def test_over_one_connection_no_payload_is_read(failover: Failover) -> None:
    """That would cost each request its size; the connection is known from the first answer on."""
    scripts, placed = failover.cell.scripts, failover.placed
    assert placed.since == scripts.since < float("inf")
    assert scripts._outlived(placed.since) == scripts._outlived(None) == ""
    assert scripts._outlived(float("inf")) == scripts._outlived(0.0) == "1"
