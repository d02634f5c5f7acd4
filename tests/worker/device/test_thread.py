"""The device thread takes the next call by its order."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import pytest

from tests.helpers.wait import came_true
from worker.device.thread import DeviceThread


async def test_of_the_calls_that_wait_the_lowest_order_runs_first() -> None:
    """Equal ones as they were submitted; calls without an order before every batch."""
    thread, go, ran = DeviceThread(), threading.Event(), []
    calls = [asyncio.ensure_future(thread.run(lambda: go.wait(20)))]
    await asyncio.sleep(0)
    for name, order in (("c", (5, 2.0)), ("a", (5, 1.0)), ("d", (9, 0.0)), ("b", (5, 1.0))):
        calls.append(asyncio.ensure_future(thread.run(lambda name=name: ran.append(name), order)))
    calls.append(asyncio.ensure_future(thread.run(lambda: ran.append("load"))))
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(*calls)
    assert ran == ["load", "a", "b", "c", "d"]
    thread.close()


async def test_a_cancelled_call_does_not_run_and_the_others_do() -> None:
    """Nor does it take the place of another."""
    thread, go, ran = DeviceThread(), threading.Event(), []
    first = asyncio.ensure_future(thread.run(lambda: go.wait(20)))
    await asyncio.sleep(0)
    cancelled = asyncio.ensure_future(thread.run(lambda: ran.append("cancelled"), (5, 1.0)))
    other = asyncio.ensure_future(thread.run(lambda: ran.append("other"), (5, 2.0)))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    go.set()
    await asyncio.gather(first, other)
    assert ran == ["other"]
    thread.close()


async def test_who_waits_when_it_closes_is_cancelled() -> None:
    """Nobody waits for ever."""
    thread = DeviceThread()

    def closed() -> bool:
        with thread._executor._shutdown_lock:
            return thread._executor._shutdown

    running = asyncio.ensure_future(thread.run(lambda: came_true(closed, 20)))
    waiting = asyncio.ensure_future(thread.run(lambda: None, (5, 1.0)))
    await asyncio.sleep(0)
    await asyncio.to_thread(thread.close)
    assert await running
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_failed_call_keeps_nothing_alive() -> None:
    """Its tensors are freed with its error, without a collection of cycles."""
    thread = DeviceThread()

    class Tensor:
        """Something large."""

    found: list[weakref.ref[Tensor]] = []

    def fails() -> None:
        held = Tensor()
        found.append(weakref.ref(held))
        raise ValueError("no")

    gc.disable()
    try:
        with pytest.raises(ValueError, match="no"):
            await thread.run(fails)
        await thread.run(lambda: None)
        assert found[0]() is None
    finally:
        gc.enable()
        thread.close()
