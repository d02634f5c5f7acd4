"""Waiting for what other tasks, threads or processes do, without a fixed sleep."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

PATIENCE_S = 20.0


async def wait_until(
    true: Callable[[], object | Awaitable[object]], within_s: float = PATIENCE_S
) -> None:
    """Return as soon as `true()` is; fail if it has not become so in time. `true` may be async."""
    ends = time.monotonic() + within_s
    while True:
        answer = true()
        if await answer if inspect.isawaitable(answer) else answer:
            return
        assert time.monotonic() < ends, "it did not become true in time"
        await asyncio.sleep(0.005)
