"""The in-flight window is bounded in requests and in bytes."""

from __future__ import annotations

import asyncio

from tests.helpers.wait import wait_until
from worker.serving.inflight import MOST_TIMES, READ_COUNT, InflightWindow


async def test_at_first_as_many_are_read_as_one_read_may_bring() -> None:
    """Or as may be in hand."""
    assert await InflightWindow(1000).wait_for_capacity() == READ_COUNT
    assert await InflightWindow(3).wait_for_capacity() == 3


async def test_no_more_are_read_than_fit_beside_those_in_hand() -> None:
    """When one is settled there is room for one."""
    held = InflightWindow(3)
    held.add(b"1-0", 1)
    held.add(b"2-0", 1)
    assert await held.wait_for_capacity() == 1
    held.add(b"3-0", 1)
    waiting = asyncio.create_task(held.wait_for_capacity())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    held.release([b"2-0"])
    assert await waiting == 1
    assert len(held) == 2


async def test_bytes_are_bounded_too() -> None:
    """Over the bound nothing is read until something is settled."""
    held = InflightWindow(100, max_bytes=100)
    held.add(b"1-0", 60)
    held.add(b"2-0", 60)
    waiting = asyncio.create_task(held.wait_for_capacity())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    held.release([b"1-0"])
    assert await waiting == 1
    assert held.bytes == 60


async def test_as_many_are_read_as_fit_if_they_are_like_the_last() -> None:
    """Small ones in large numbers, large ones singly."""
    held = InflightWindow(100, max_bytes=100)
    held.add(b"1-0", 10)
    held.add(b"2-0", 20)
    assert await held.wait_for_capacity() == 3
    held.add(b"3-0", 1)
    assert await held.wait_for_capacity() == READ_COUNT
    held.add(b"4-0", 50)
    assert await held.wait_for_capacity() == 1


async def test_one_larger_than_the_bound_is_taken_alone() -> None:
    """It would never be served otherwise."""
    held = InflightWindow(100, max_bytes=100)
    held.add(b"1-0", 500)
    waiting = asyncio.create_task(held.wait_for_capacity())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    held.release([b"1-0"])
    await wait_until(waiting.done)
    assert waiting.result() == 1


async def test_what_is_in_hand_is_known() -> None:
    """It may be read again after an error; once settled it is nothing that we know."""
    held = InflightWindow(100)
    held.add(b"1-0", 10)
    assert held.knows(b"1-0") and not held.knows(b"2-0")
    held.release([b"1-0"])
    assert not held.knows(b"1-0") and held.bytes == 0


async def test_what_is_settled_twice_counts_once() -> None:
    """A batch may be settled as gone and as answered."""
    held = InflightWindow(100)
    held.add(b"1-0", 10)
    held.add(b"2-0", 5)
    held.release([b"1-0"])
    held.release([b"1-0", b"9-0"])
    assert (len(held), held.bytes) == (1, 5)


async def test_one_models_flood_is_read_past() -> None:
    """To the requests of its neighbours, which stand behind it on the stream."""
    held = InflightWindow(32, models=lambda: 2)
    for n in range(20 * 32):
        assert await held.wait_for_capacity() > 0
        held.add(b"%d-0" % n, 1, b"flood")
    assert held.admits(1, b"neighbour")


async def test_without_neighbours_nothing_is_read_past_the_window() -> None:
    """The rest of a flood stays on the stream."""
    held = InflightWindow(32, models=lambda: 1)
    for n in range(32):
        held.add(b"%d-0" % n, 1, b"flood")
    waiting = asyncio.create_task(held.wait_for_capacity())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    held.release([b"0-0"])
    assert await waiting == 1


async def test_many_models_with_their_shares_fill_the_window() -> None:
    """And it is bounded however the entries are spread, in number and in bytes."""
    held = InflightWindow(32, models=lambda: 20)
    for n in range(33):
        held.add(b"%d-0" % n, 1, b"m%d" % (n % 16))
    waiting = asyncio.create_task(held.wait_for_capacity())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    held.release([b"%d-0" % n for n in range(33)])
    assert await waiting == 32
    assert (len(held), held.bytes, held._counted) == (0, 0, 0)
    for n in range(MOST_TIMES * 32):
        held.add(b"%d-0" % n, 1, b"flood")
    waiting = asyncio.create_task(held.wait_for_capacity())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    waiting.cancel()
