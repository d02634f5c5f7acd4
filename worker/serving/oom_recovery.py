"""Memory of the device for a batch that found too little.

Freeing memory evicts copies, and an eviction waits for the requests of its copy, which need the
device themselves. So a batch that waits for memory gives up its slot, and waits for a short time
only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from shared import clock
from shared.errors import WarmrouteError

log = logging.getLogger(__name__)

MAX_WAIT_S = 2.0  # for memory; an eviction that takes longer goes on, and serves later batches
INEFFECTIVE_S = 60.0

FreeMemory = Callable[[], Awaitable[bool]]
YieldSlot = Callable[[], AbstractAsyncContextManager[None]]


async def nothing_to_free() -> bool:
    """The `FreeMemory` of a device on which nothing can be evicted."""
    return False


class OomRecovery:
    """Calls `evict` once for all batches that need memory at the same time. Meanwhile the batch is
    held in `yield_slot()`: others may run.

    A request that is too large for the whole device would empty it each time it is sent. So after
    an eviction that did not help, nothing is freed for a while for a batch of the same model that
    is as large.
    """

    def __init__(self, evict: FreeMemory, yield_slot: YieldSlot) -> None:
        self._evict = evict
        self._yield_slot = yield_slot
        self._task: asyncio.Task[bool] | None = None
        self._ineffective: dict[str, tuple[int, float]] = {}  # ref -> bytes of inputs, until when

    async def free_memory(self, ref: str, size: int) -> bool:
        """Whether memory was freed, so that a call of `ref` with inputs of `size` bytes is worth
        another try."""
        least, until = self._ineffective.get(ref, (0, 0.0))
        if size >= least and clock.monotonic() < until:
            return False
        async with self._yield_slot():
            return await self._evict_once()

    def mark_ineffective(self, ref: str, size: int) -> None:
        """Memory was freed, and it was not enough for inputs of `size` bytes."""
        now = clock.monotonic()
        self._ineffective = {r: v for r, v in self._ineffective.items() if v[1] > now and r != ref}
        self._ineffective[ref] = (size, now + INEFFECTIVE_S)

    async def _evict_once(self) -> bool:
        task = self._task
        if task is None or task.done():
            task = self._task = asyncio.create_task(self._evict_or_fail())
        await asyncio.wait([task], timeout=MAX_WAIT_S)
        return task.done() and task.result()

    async def _evict_or_fail(self) -> bool:
        try:
            return await self._evict()
        except WarmrouteError as error:
            log.warning("no memory was freed: %s", error.message)
        except Exception:
            log.exception("this is a bug: freeing memory raised")
        return False
