"""Copies that drain, where the map of a worker's copies is put right: an unload waits for them."""

from __future__ import annotations

import pytest

from tests.helpers.cell import MAX_ATTEMPTS, Cell
from tests.helpers.factories import OTHER_REF, REF
from worker.membership import Membership


@pytest.fixture
def held() -> dict[str, int]:
    """The copies of worker w1 and their bytes."""
    return {REF: 10, OTHER_REF: 20}


@pytest.fixture
async def member(cell: Cell, held: dict[str, int]) -> Membership:
    """Worker w1, registered."""
    made = Membership(cell.scripts, "w1", 10.0, MAX_ATTEMPTS, dict, lambda: dict(held))
    made.state = "ready"
    await made.register()
    return made


async def resync(cell: Cell, member: Membership) -> None:
    """The map is found wrong, and put right."""
    epoch = member.epoch
    await cell.client.delete(cell.keys.holds("w1"))
    answer = await member.renew(member._scripts)
    assert answer == "resync"
    await member.handle_answer(answer, epoch)


async def draining(cell: Cell) -> list[str]:
    """Whether an unload would wait."""
    return await cell.exists(cell.keys.leaving(OTHER_REF.partition(":")[0]))


async def test_a_copy_that_was_freed_does_not_drain_again(
    cell: Cell, member: Membership, held: dict[str, int]
) -> None:
    """The worker is no holder of it, even if an announcement came late. Nobody would say a second
    time that it is freed, so an unload would wait until its deadline."""
    del held[OTHER_REF]
    await cell.scripts.retire("w1", member.epoch, OTHER_REF, "host")
    await cell.scripts.freed("w1", OTHER_REF)
    warm = await cell.client.hgetall(cell.keys.warm(OTHER_REF))
    await resync(cell, member)
    assert await draining(cell) == []
    assert await cell.client.hgetall(cell.keys.warm(OTHER_REF)) == warm != {}
    await cell.scripts.announce("w1", member.epoch, OTHER_REF, "", "device 20")
    member._announced.add(OTHER_REF)
    await resync(cell, member)
    assert await cell.client.hkeys(cell.keys.holders(OTHER_REF)) == []
    assert await draining(cell) == []


async def test_a_copy_that_drains_does_so_until_it_is_freed(
    cell: Cell, member: Membership, held: dict[str, int]
) -> None:
    """However often the map is put right meanwhile."""
    del held[OTHER_REF]
    await cell.scripts.retire("w1", member.epoch, OTHER_REF)
    await resync(cell, member)
    assert len(await draining(cell)) == 1
    await cell.scripts.freed("w1", OTHER_REF)
    await resync(cell, member)
    assert await draining(cell) == []
