"""Waiting for what tasks, threads and processes do, without a fixed sleep."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

PATIENCE_S = 60.0  # a busy machine may take a while
_PAUSE_S = 0.01
_LATE = "it did not become true in time"


async def wait_until(
    true: Callable[[], object | Awaitable[object]], within_s: float = PATIENCE_S
) -> None:
    """Return as soon as `true()` is; fail if it has not become so in time. `true` may be async."""
    ends = time.monotonic() + within_s
    while True:
        answer = true()
        if await answer if inspect.isawaitable(answer) else answer:
            return
        assert time.monotonic() < ends, _LATE
        await asyncio.sleep(_PAUSE_S / 2)


def block_until(true: Callable[[], object], within_s: float = PATIENCE_S) -> None:
    """As `wait_until`, in a test or a thread that has no event loop."""
    assert came_true(true, within_s), _LATE


def came_true(true: Callable[[], object], within_s: float) -> bool:
    """Whether `true()` became so in time."""
    ends = time.monotonic() + within_s
    while not true():
        if time.monotonic() > ends:
            return False
        time.sleep(_PAUSE_S)
    return True


def stayed_true(true: Callable[[], object], for_s: float) -> bool:
    """Whether `true()` was so at every look within so many seconds."""
    ends = time.monotonic() + for_s
    while time.monotonic() < ends:
        if not true():
            return False
        time.sleep(_PAUSE_S)
    return True
