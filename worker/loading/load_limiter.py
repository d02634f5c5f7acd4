"""When a load may proceed: exclusively for its model, in a slot, and debounced under contention."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from worker.residency.polling import until

MAX_DEBOUNCED = 8  # per slot: further orders are taken beside so many debounced loads


class LoadLimiter:
    """Limits the loads of one worker to `slots` at a time. Where models push each other out all the
    time, a load is debounced for `share_s` seconds, so that more requests share it."""

    def __init__(self, slots: int, share_s: float) -> None:
        self.slots = slots
        self._share_s = share_s
        self._loading = asyncio.Semaphore(slots)
        self._under_way: set[str] = set()
        self._debounced = 0

    def without_slot(self) -> int:
        """Loads that occupy no slot now: further orders may be taken beside them."""
        return min(self._debounced, MAX_DEBOUNCED * self.slots)

    async def debounce(self, contended: bool) -> None:
        """Delay a load that needs an eviction shortly after another did: further requests for the
        model share it. A load that is alone is not delayed."""
        if not contended or len(self._under_way) < 2:
            return
        self._debounced += 1
        try:
            await asyncio.sleep(self._share_s)
        finally:
            self._debounced -= 1

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Occupy a slot for the block."""
        async with self._loading:
            yield

    @asynccontextmanager
    async def exclusive(self, ref: str) -> AsyncIterator[None]:
        """Run no other load of the model during the block. An earlier one that was given up runs
        until its thread has ended, and its bytes are in use until then."""
        await until(lambda: ref not in self._under_way)
        self._under_way.add(ref)
        try:
            yield
        finally:
            self._under_way.discard(ref)
