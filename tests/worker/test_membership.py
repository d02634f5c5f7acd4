"""A worker's place in the cell: registered, renewed, fenced, and its copies in the map."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from shared.channel import Channel
from shared.errors import Conflict, Unavailable
from shared.scripts import Scripts
from tests.helpers.cell import MAX_ATTEMPTS, Cell
from tests.helpers.factories import OTHER_REF, REF, placing
from worker.membership import Membership

Told = list[Sequence[str] | None]


class Meddling(Scripts):
    """The real scripts, with something that happens once just before an announcement."""

    before = None

    async def announce(self, *args: str) -> int:
        if self.before is not None:
            happens, self.before = self.before, None
            await happens()
        return await super().announce(*args)


@pytest.fixture
def held() -> dict[str, int]:
    """The copies of worker w1 and their bytes."""
    return {REF: 10, OTHER_REF: 20}


@pytest.fixture
def told() -> Told:
    """Which copies it was told to look at again."""
    return []


@pytest.fixture
async def member(cell: Cell, held: dict[str, int], told: Told) -> Membership:
    """Worker w1, registered."""
    scripts = Meddling(cell.channel, cell.keys)
    made = Membership(
        scripts, "w1", 10.0, MAX_ATTEMPTS, lambda: {"used_bytes": 30}, lambda: dict(held),
        look_again=told.append,
    )  # fmt: skip
    made.state = "ready"
    await made.register()
    return made


async def beat(member: Membership) -> str:
    """Renew the lease and act on the answer."""
    epoch = member.epoch
    answer = await member.renew(member._scripts)
    await member.handle_answer(answer, epoch)
    return answer


async def holders(cell: Cell, ref: str) -> list[bytes]:
    return await cell.client.hkeys(cell.keys.holders(ref))


async def test_a_registration_announces_the_copies_held(cell: Cell, member: Membership) -> None:
    """With the bytes of each copy, and its report."""
    assert (await cell.client.hget(cell.keys.holders(REF), "w1")).startswith(b"device 10 ")
    assert await holders(cell, OTHER_REF) == [b"w1"]
    record = await cell.client.hgetall(cell.keys.worker("w1"))
    assert (record[b"state"], record[b"used_bytes"]) == (b"ready", b"30")


async def test_a_heartbeat_renews_the_lease(cell: Cell, member: Membership) -> None:
    """And shows a state that has changed."""
    before = await cell.client.zscore(cell.keys.workers, "w1")
    member.state = "draining"
    assert await beat(member) == "ok"
    assert await cell.client.zscore(cell.keys.workers, "w1") >= before
    assert await cell.client.hget(cell.keys.worker("w1"), "state") == b"draining"


async def test_a_heartbeat_says_of_which_copies_something_has_changed(
    cell: Cell, member: Membership, told: Told
) -> None:
    """Once; of all, if the answer did not come or the map was lost."""
    await beat(member)
    told.clear()
    await cell.scripts.set_policy(REF, {"priority": "1"})
    await beat(member)
    await beat(member)
    assert told == [(REF,)]
    await cell.client.delete(cell.keys.policy(REF))
    lost = Channel("redis://127.0.0.1:1")
    with pytest.raises(Unavailable):
        await member.renew(Scripts(lost, cell.keys))
    await lost.aclose()
    await cell.client.delete(cell.keys.holds("w1"))
    await beat(member)
    assert told[1:] == [None, None]


async def test_a_heartbeat_writes_only_what_has_changed(cell: Cell, member: Membership) -> None:
    """What Redis has lost of a record is there again when an answer was lost, or after a while."""
    await beat(member)
    await cell.client.hdel(cell.keys.worker("w1"), "used_bytes")
    await beat(member)
    assert not await cell.client.hexists(cell.keys.worker("w1"), "used_bytes")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await beat(member)
    await beat(member)
    assert await cell.client.hget(cell.keys.worker("w1"), "used_bytes") == b"30"


async def test_a_worker_at_rest_has_no_news(
    cell: Cell, member: Membership, held: dict[str, int]
) -> None:
    """A changed state, or a lost answer, is one: the next beat is not left out."""
    assert member.has_news()
    await beat(member)
    assert not member.has_news()
    member.state = "draining"
    assert member.has_news()
    await beat(member)
    assert not member.has_news()


async def test_who_was_reaped_comes_back_with_a_new_epoch(cell: Cell, member: Membership) -> None:
    """Its copies are in the map again, and serve what was parked meanwhile."""
    await cell.place(placing())
    await cell.client.zadd(cell.keys.workers, {"w1": 0})
    await cell.reap()
    old = member.epoch
    assert await beat(member) == "fenced"
    assert int(member.epoch) > int(old)
    assert await holders(cell, REF) == [b"w1"]
    assert len(await cell.read("w1")) == 1
    assert await beat(member) == "ok"


async def test_after_a_flush_the_map_is_back_with_the_next_beat(
    cell: Cell, member: Membership
) -> None:
    """Without a restart."""
    keys = [key async for key in cell.client.scan_iter(cell.keys.prefix + ":*")]
    await cell.client.delete(*keys)
    await beat(member)
    assert await holders(cell, REF) == await holders(cell, OTHER_REF) == [b"w1"]
    assert await beat(member) == "ok"


async def test_a_model_that_the_map_lacks_is_announced_again(
    cell: Cell, member: Membership
) -> None:
    """The beat notices."""
    await cell.client.delete(cell.keys.holders(REF), cell.keys.holds("w1"))
    assert await beat(member) == "resync"
    assert await holders(cell, REF) == [b"w1"]
    assert await beat(member) == "ok"


async def test_a_copy_that_is_evicted_meanwhile_is_not_announced_again(
    cell: Cell, member: Membership, held: dict[str, int]
) -> None:
    """It would get requests for ever that nobody here can serve."""

    async def evict() -> None:
        del held[OTHER_REF]
        await cell.scripts.retire("w1", member.epoch, OTHER_REF)

    member._scripts.before = evict
    await member.announce_held()
    assert await holders(cell, OTHER_REF) == []
    assert await beat(member) == "ok"


async def test_an_announcement_that_came_too_late_is_a_conflict(
    cell: Cell, member: Membership
) -> None:
    """The load was given to another, or the worker is fenced."""
    with pytest.raises(Conflict, match="another"):
        await member.announce("resnet:1:0123456789ab", "0" * 24)
    await cell.worker("w1")
    with pytest.raises(Conflict, match="fenced"):
        await member.announce(REF, "")


async def test_a_retired_copy_takes_no_request_and_a_worker_that_left_has_no_record(
    cell: Cell, member: Membership, held: dict[str, int]
) -> None:
    """As a draining worker does."""
    await member.retire(list(held))
    assert (await cell.place(placing()))[0].status == "parked"
    await member.leave()
    assert await cell.exists(cell.keys.worker("w1"), cell.keys.workers) == []


async def test_each_registration_is_passed_on_and_names_its_processes(cell: Cell) -> None:
    """So that a parent knows the epoch to fence, and two processes are not taken for one; and a
    worker that was started again not for the one before."""
    epochs: list[str] = []
    member = Membership(
        cell.scripts, "w1", 10.0, MAX_ATTEMPTS, dict, dict, on_epoch=epochs.append
    )  # fmt: skip
    member.parent = "one"
    await member.register()
    assert epochs == [member.epoch]
    known = await cell.client.hmget(cell.keys.worker("w1"), "incarnation", "parent")
    assert known == [member.incarnation.encode(), b"one"]


async def test_a_worker_whose_name_was_taken_does_not_register_again(
    cell: Cell, member: Membership
) -> None:
    """It is told, and leaves the other alone."""
    other = Membership(cell.scripts, "w1", 10.0, MAX_ATTEMPTS, dict, dict)
    await other.register()
    assert await beat(member) == "taken"
    assert await beat(other) == "ok"


async def test_an_answer_that_crossed_a_registration_is_ignored(
    cell: Cell, member: Membership
) -> None:
    """Of two beats that found the lease lost, one registers."""
    old = member.epoch
    await cell.client.zadd(cell.keys.workers, {"w1": 0})
    while await cell.reap():
        pass
    await asyncio.gather(*(member.handle_answer("fenced", old) for _ in range(3)))
    assert int(member.epoch) > int(old)
    assert await holders(cell, REF) == [b"w1"]


async def test_what_the_map_says_too_much_is_taken_back(
    cell: Cell, member: Membership, held: dict[str, int]
) -> None:
    """An announcement was lost with its connection and came after the copy was retired: for ever,
    requests would go where the model is not."""
    await member.retire([REF])
    del held[REF]
    await cell.scripts.announce("w1", member.epoch, REF, "", "device 10")
    assert await holders(cell, REF) == [b"w1"]
    assert await beat(member) == "resync"
    assert await holders(cell, REF) == []
    assert await beat(member) == "ok"
