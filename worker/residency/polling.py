"""Polling inside a process, where many places can end a wait and would all have to set an event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

POLL_S = 0.005  # for what ends within milliseconds: a drain, an announcement, another load
SLOW_POLL_S = 0.025  # once a wait has become long


async def until(condition: Callable[[], bool], every_s: float = POLL_S) -> None:
    """Return when `condition()` is true; it is evaluated now and every `every_s` seconds."""
    while not condition():  # noqa: ASYNC110 - the one place that polls
        await asyncio.sleep(every_s)
