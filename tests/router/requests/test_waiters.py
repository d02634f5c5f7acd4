"""Waiters: the outcome of a request reaches whoever waits for it here, and nobody else."""

from __future__ import annotations

import asyncio

import pytest

from router.requests.waiters import READ_COUNT, Reply, Waiters
from shared.channel import Channel
from shared.errors import Expired, Unavailable
from tests.helpers.cell import Cell
from tests.helpers.factories import REF, placing
from tests.helpers.proxy import Proxy


@pytest.fixture
async def waiters(cell: Cell) -> Waiters:
    """The waiters of gateway gw1; tests read one round at a time."""
    await cell.gateway("gw1", 60_000)
    return Waiters(cell.channel, cell.keys, "gw1")


async def finish(cell: Cell, *ids: str, outcome: bytes = b"42") -> None:
    """Requests that gw1 waits for succeed on worker w1."""
    epoch = await cell.worker("w1", holds=[REF])
    await cell.place(*[placing(id=i) for i in ids])
    await cell.complete("w1", epoch, await cell.read("w1"), outcome=outcome)


async def drain(waiters: Waiters, until: int) -> int:
    """Read until so many replies have come."""
    read = 0
    while read < until:
        read += await waiters.run_once()
    return read


async def test_a_waiter_gets_its_outcome(cell: Cell, waiters: Waiters) -> None:
    """With who ran it and whether it was cold; nothing is kept afterwards."""
    future = waiters.register("a" * 32)
    await finish(cell, "a" * 32)
    await drain(waiters, 1)
    assert future.result() == Reply("succeeded", "w1", False, b"42")
    assert len(waiters) == 0


async def test_each_waiter_gets_its_own(cell: Cell, waiters: Waiters) -> None:
    """Many at once, in any order."""
    ids = [f"{n:032x}" for n in range(300)]
    futures = {i: waiters.register(i) for i in reversed(ids)}
    epoch = await cell.worker("w1", holds=[REF])
    await cell.place(*[placing(id=i) for i in ids])
    for entry in await cell.read("w1"):
        await cell.complete("w1", epoch, [entry], outcome=entry.fields["id"])
    await drain(waiters, len(ids))
    assert all(futures[i].result().outcome == i.encode() for i in ids)


async def test_several_may_wait_for_one_request(cell: Cell, waiters: Waiters) -> None:
    """Two pollers of one id."""
    futures = [waiters.register("a" * 32) for _ in range(2)]
    await finish(cell, "a" * 32)
    await drain(waiters, 1)
    assert [f.result().outcome for f in futures] == [b"42", b"42"]


async def test_who_forgot_is_not_told(cell: Cell, waiters: Waiters) -> None:
    """The other one is; forgetting twice, or after the outcome, does no harm."""
    first, second = (waiters.register("a" * 32) for _ in range(2))
    waiters.forget("a" * 32, first)
    waiters.forget("a" * 32, first)
    await finish(cell, "a" * 32)
    await drain(waiters, 1)
    assert not first.done() and second.done()
    waiters.forget("a" * 32, second)
    assert len(waiters) == 0


async def test_a_caller_that_was_cancelled_does_not_disturb(cell: Cell, waiters: Waiters) -> None:
    """Its future is done already."""
    gone, stays = waiters.register("a" * 32), waiters.register("b" * 32)
    gone.cancel()
    await finish(cell, "a" * 32, "b" * 32)
    await drain(waiters, 2)
    assert stays.result().status == "succeeded"


async def test_at_the_deadline_a_waiter_is_told_so(waiters: Waiters) -> None:
    """Each by its own; one that has its outcome, or forgot, or has no deadline, is left alone."""
    late, later, answered, gone, endless, freed = (waiters.register(c * 32) for c in "abcdef")
    now = asyncio.get_running_loop().time()
    for future in (late, answered, gone, freed):
        waiters.set_deadline(future, now)
    waiters.set_deadline(later, now + 60)
    answered.set_result(Reply("succeeded", "w1", False, b"42"))
    waiters.forget("d" * 32, gone)
    waiters.clear_deadline(freed)
    assert await waiters.expire_once() == 2
    with pytest.raises(Expired):
        late.result()
    assert answered.result().outcome == b"42"
    assert not any(future.done() for future in (later, gone, endless, freed))
    assert await waiters.expire_once() == 0


async def test_an_outcome_nobody_waits_for_is_passed_over(cell: Cell, waiters: Waiters) -> None:
    """The next one is read."""
    future = waiters.register("b" * 32)
    await finish(cell, "a" * 32, "b" * 32)
    await drain(waiters, 2)
    assert future.done()


async def test_nothing_is_read_twice(cell: Cell, waiters: Waiters) -> None:
    """A second waiter for an id whose outcome was read waits."""
    await finish(cell, "a" * 32)
    await drain(waiters, 1)
    late = waiters.register("a" * 32)
    await finish(cell, "b" * 32)
    await drain(waiters, 1)
    assert not late.done()


async def test_replies_that_were_read_do_not_pile_up_in_redis(cell: Cell, waiters: Waiters) -> None:
    """Outcomes of a megabyte would fill it within minutes."""
    many = 3 * READ_COUNT
    for n in range(many):
        await cell.client.xadd(
            cell.keys.replies("gw1"),
            {"id": f"{n:032x}", "status": "succeeded", "worker": "w", "cold": 0, "outcome": "x"},
        )
    await drain(waiters, many)
    assert await cell.client.xlen(cell.keys.replies("gw1")) <= READ_COUNT


async def test_after_a_lost_connection_no_outcome_is_missed(cell: Cell) -> None:
    """It reads on from where it was."""
    await cell.gateway("gw1", 60_000)
    async with Proxy.to(cell.url) as proxy:
        channel = Channel(proxy.url)
        waiters = Waiters(channel, cell.keys, "gw1")
        future = waiters.register("a" * 32)
        assert await waiters.run_once() == 1  # what the beat wrote to make the stream
        reading = asyncio.create_task(waiters.run_once())
        await asyncio.sleep(0.01)
        proxy.cut()
        with pytest.raises(Unavailable):
            await reading
        await finish(cell, "a" * 32)
        while not future.done():
            await waiters.run_once()
        assert future.result().outcome == b"42"
        await channel.aclose()
