"""Freeing memory: shared, and never a reason to fail."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext

import pytest

from shared.errors import Unavailable
from worker.serving.oom_recovery import OomRecovery, nothing_to_free


@pytest.mark.parametrize("error", [Unavailable("Redis is away"), ZeroDivisionError("a bug")])
async def test_an_eviction_that_fails_frees_nothing(error: Exception) -> None:
    """Whatever went wrong: the batch is split then."""

    async def free_memory() -> bool:
        raise error

    assert not await OomRecovery(free_memory, nullcontext).free_memory("a", 1)


async def test_batches_that_need_memory_at_the_same_time_share_one_eviction() -> None:
    """One eviction for all; the next one is asked for anew."""
    asked = 0

    async def free_memory() -> bool:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return True

    room = OomRecovery(free_memory, nullcontext)
    assert await asyncio.gather(*(room.free_memory(ref, 1) for ref in "abc")) == [True] * 3
    assert asked == 1
    assert await room.free_memory("a", 1)
    assert asked == 2


async def test_an_ineffective_eviction_is_remembered_by_model_and_size() -> None:
    """Something smaller of the same model, and another model, may still be helped."""

    async def free_memory() -> bool:
        return True

    room = OomRecovery(free_memory, nullcontext)
    room.mark_ineffective("a", 100)
    assert [await room.free_memory("a", size) for size in (99, 100, 101)] == [True, False, False]
    assert await room.free_memory("b", 100)
    room.mark_ineffective("a", 50)
    assert not await room.free_memory("a", 99)


async def test_where_nothing_can_be_freed_nothing_is_freed() -> None:
    """The default of a consumer."""
    assert not await OomRecovery(nothing_to_free, nullcontext).free_memory("a", 1)
