"""Coalesced placement: what comes in one turn of the loop goes in one call, answered one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from router.requests.placement import MAX_BATCH, MAX_BATCH_BYTES, MAX_CALLS, Placement
from shared.errors import Expired, Unavailable
from shared.placed import Limits, Placed
from shared.refusals import NotSent
from shared.scripts import Placing
from tests.helpers.cell import WIDE, Cell
from tests.helpers.factories import REF, placing
from tests.helpers.wait import wait_until


def unexpected(item: Placing, placed: Placed | None, late: bool) -> None:
    """A request was placed after its caller left: in most tests none is."""


class Calls:
    """In place of the scripts: it notes each call and answers when told."""

    def __init__(self) -> None:
        self.batches: list[list[Placing]] = []
        self.running = 0
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def place(self, items: Sequence[Placing], limits: Limits) -> list[Placed]:
        self.batches.append(list(items))
        self.running += 1
        await self.go.wait()
        self.running -= 1
        if self.error is not None:
            raise self.error
        return [Placed("placed", item.id, "1-1", 0) for item in items]


async def test_each_request_gets_its_own_answer(cell: Cell) -> None:
    """Through the real script, a few hundred in one turn."""
    await cell.worker("w1", holds=[REF])
    placement = Placement(cell.scripts, WIDE._replace(work=250), unexpected)
    items = [placing() for _ in range(300)]
    rows = await asyncio.gather(*(placement.put(item) for item in items))
    assert [row.status for row in rows] == ["placed"] * 250 + ["full"] * 50
    entries = {e.entry.decode(): e.fields["id"].decode() for e in await cell.read("w1")}
    assert [entries[row.entry] for row in rows[:250]] == [item.id for item in items[:250]]


async def test_one_turn_of_the_loop_is_one_call() -> None:
    """In the order of arrival."""
    calls = Calls()
    calls.go.set()
    placement, items = Placement(calls, WIDE, unexpected), [placing() for _ in range(20)]
    rows = await asyncio.gather(*(placement.put(item) for item in items))
    assert calls.batches == [items]
    assert [row.detail for row in rows] == [item.id for item in items]


async def test_while_calls_are_under_way_the_rest_gathers() -> None:
    """At most so many calls, each at most so large; then what has gathered goes."""
    calls = Calls()
    placement = Placement(calls, WIDE, unexpected)
    futures = [placement.put(placing()) for _ in range(3 * MAX_BATCH)]
    await wait_until(lambda: calls.running == MAX_CALLS)
    futures += [placement.put(placing()) for _ in range(5)]
    await asyncio.sleep(0.01)
    assert [len(batch) for batch in calls.batches] == [MAX_BATCH] * MAX_CALLS
    calls.go.set()
    await asyncio.gather(*futures)
    assert sum(len(batch) for batch in calls.batches) == len(futures)
    assert max(len(batch) for batch in calls.batches) <= MAX_BATCH


async def test_large_requests_go_in_small_calls() -> None:
    """One call does not carry many megabytes more than the bound."""
    calls = Calls()
    calls.go.set()
    placement = Placement(calls, WIDE, unexpected)
    body = bytes(MAX_BATCH_BYTES // 2)
    await asyncio.gather(*(placement.put(placing(body=body)) for _ in range(6)))
    assert [len(batch) for batch in calls.batches] == [2, 2, 2]


async def test_when_redis_does_not_answer_all_of_the_call_are_told() -> None:
    """And the next call is made all the same."""
    calls = Calls()
    calls.go.set()
    calls.error = Unavailable("Redis does not answer")
    placement = Placement(calls, WIDE, unexpected)
    answers = await asyncio.gather(
        *(placement.put(placing()) for _ in range(3)), return_exceptions=True
    )
    assert {type(answer) for answer in answers} == {Unavailable}
    calls.error = None
    assert (await placement.put(placing())).status == "placed"


async def test_a_bug_in_a_call_leaves_nobody_waiting() -> None:
    """Whatever is raised, the callers hear of it."""
    calls = Calls()
    calls.go.set()
    calls.error = ValueError("a bug")
    placement = Placement(calls, WIDE, unexpected)
    async with asyncio.timeout(5):
        with pytest.raises(ValueError, match="a bug"):
            await placement.put(placing())


async def test_who_left_before_the_call_is_not_placed() -> None:
    """It waited behind calls under way; nobody wants its answer any more."""
    calls = Calls()
    placement = Placement(calls, WIDE, unexpected)
    first = [placement.put(placing()) for _ in range(MAX_CALLS * MAX_BATCH)]
    await wait_until(lambda: calls.running == MAX_CALLS)
    gone, stays = placing(), placing()
    placement.put(gone).cancel()
    waiting = placement.put(stays)
    calls.go.set()
    await asyncio.gather(*first, waiting)
    assert [item for batch in calls.batches[MAX_CALLS:] for item in batch] == [stays]


async def test_a_caller_that_leaves_does_not_disturb_its_neighbours() -> None:
    """Answers stay with their requests."""
    calls = Calls()
    placement = Placement(calls, WIDE, unexpected)
    items = [placing() for _ in range(3)]
    futures = [placement.put(item) for item in items]
    await wait_until(lambda: calls.running == 1)
    futures[1].cancel()
    calls.go.set()
    assert (await futures[0]).detail == items[0].id
    assert (await futures[2]).detail == items[2].id


@pytest.mark.parametrize("error", [None, Unavailable("Redis does not answer")])
@pytest.mark.parametrize("late", [False, True])
async def test_who_left_meanwhile_is_named_with_what_it_was_told(
    error: Exception | None, late: bool
) -> None:
    """Whether Redis answered or not: then the request may have been placed."""
    calls, named = Calls(), []
    calls.error = error
    placement = Placement(calls, WIDE, lambda *said: named.append(said))
    item = placing()
    future = placement.put(item)
    await wait_until(lambda: calls.running == 1)
    if late:
        future.set_exception(Expired("the deadline passed"))
        assert future.exception()
    else:
        future.cancel()
    calls.go.set()
    await wait_until(lambda: named)
    assert named == [(item, None if error else Placed("placed", item.id, "1-1", 0), late)]


def never_sent() -> Unavailable:
    """What a call raises that found no connection."""
    error = Unavailable("Redis does not answer")
    error.__cause__ = NotSent("cannot connect")
    return error


async def test_who_left_a_call_that_was_never_sent_needs_no_cancel() -> None:
    """While Redis is away thousands leave: nothing of theirs was placed."""
    calls, named = Calls(), []
    calls.error = never_sent()
    placement = Placement(calls, WIDE, lambda *said: named.append(said))
    leaves, stays = placement.put(placing()), placement.put(placing())
    await wait_until(lambda: calls.running == 1)
    leaves.cancel()
    calls.go.set()
    with pytest.raises(Unavailable):
        await stays
    assert named == []
