"""Long work in an event loop, in slices: what else is due runs between two of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

from shared import clock

SLICE_S = 0.001  # a request takes several turns of the loop, and may wait for a slice in each

T = TypeVar("T")


async def in_slices(items: Iterable[T]) -> AsyncIterator[T]:
    """The items, which take time to make or to handle; every SLICE_S the loop does other things."""
    began = clock.monotonic()
    for item in items:
        yield item
        if clock.monotonic() - began > SLICE_S:
            await asyncio.sleep(0)
            began = clock.monotonic()
