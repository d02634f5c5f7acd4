from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from worker.weight_cache.loop_thread import LoopThread, run_in


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    made = LoopThread("test")
    yield made
    made.stop()


async def test_a_coroutine_runs_on_the_other_thread(thread: LoopThread) -> None:
    """Its result comes back here."""

    async def where() -> str:
        return threading.current_thread().name

    assert await thread.run(where()) == "test"


async def test_an_error_comes_back(thread: LoopThread) -> None:
    """As itself."""

    async def fail() -> None:
        raise LookupError("there")

    with pytest.raises(LookupError, match="there"):
        await thread.run(fail())


async def test_a_cancelled_caller_waits_for_the_real_end(thread: LoopThread) -> None:
    """What the coroutine worked on may then be taken away."""
    started, ended = threading.Event(), threading.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            ended.set()

    task = asyncio.create_task(thread.run(work()))
    await asyncio.to_thread(started.wait, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_a_caller_cancelled_at_once_leaves_nothing_running(thread: LoopThread) -> None:
    """Also when the other thread has not begun yet."""

    async def work() -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(thread.run(work()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancelled_call_waits_for_its_thread() -> None:
    """However often it is cancelled: a thread cannot be interrupted."""
    started, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        go_on.wait(20)
        ended.set()

    task = asyncio.create_task(run_in(None, work))
    await asyncio.to_thread(started.wait, 20)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
