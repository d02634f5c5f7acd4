"""When a load may go on: alone with its model, in a slot, and not in haste."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

MOST_HELD = 8  # loads held back for each slot
POLL_S = 0.01


class LoadLimiter:
    """The turns of one worker's loads: `slots` are brought up at a time. Where models push each
    other out all the time a load is held back for `share_s`, to be shared by more requests."""

    def __init__(self, slots: int, share_s: float) -> None:
        self.slots = slots
        self._share_s = share_s
        self._loading = asyncio.Semaphore(slots)
        self._under_way: set[str] = set()
        self._held = 0

    def without_slot(self) -> int:
        """Loads that take no slot just now: more orders may be taken beside them."""
        return min(self._held, MOST_HELD * self.slots)

    async def hold(self, contended: bool) -> None:
        """Before a newcomer pushes somebody out, right after another did: whoever else asks for it
        meanwhile shares its load. One that is alone would wait for nothing."""
        if not contended or len(self._under_way) < 2:
            return
        self._held += 1
        try:
            await asyncio.sleep(self._share_s)
        finally:
            self._held -= 1

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """For the block the load has a slot."""
        async with self._loading:
            yield

    @asynccontextmanager
    async def by_itself(self, ref: str) -> AsyncIterator[None]:
        """For the block no other load of the model runs here. An earlier one that was given up goes
        on until its thread has ended, and its bytes are its own until then."""
        while ref in self._under_way:  # noqa: ASYNC110 - rare, and over when a thread ends
            await asyncio.sleep(POLL_S)
        self._under_way.add(ref)
        try:
            yield
        finally:
            self._under_way.discard(ref)
