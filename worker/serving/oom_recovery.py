"""Room on the device for a batch that found none there.

Whoever makes room (the evictor) may have to wait for requests of the copy it evicts, which need the
device themselves. So nobody who waits for room stands in their way, and nobody waits for long.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from shared import clock
from shared.errors import WarmrouteError

log = logging.getLogger(__name__)

LONGEST_S = 2.0  # to wait for room; what was begun goes on, and serves those who come later
IN_VAIN_S = 60.0

Relieve = Callable[[], Awaitable[bool]]
Aside = Callable[[], AbstractAsyncContextManager[None]]


async def nothing_to_free() -> bool:
    """The `Relieve` of a device on which nothing can be evicted."""
    return False


class OomRecovery:
    """Asks `relieve` for room, once for all batches that want some at the same time. Meanwhile the
    batch is held `aside()`: others may run.

    A request that found no room even so would empty the device each time it is sent. So for a while
    nothing is freed for what is as large, of the same model.
    """

    def __init__(self, relieve: Relieve, aside: Aside) -> None:
        self._relieve = relieve
        self._aside = aside
        self._task: asyncio.Task[bool] | None = None
        self._in_vain: dict[str, tuple[int, float]] = {}  # ref -> bytes of inputs, until when

    async def make_room(self, ref: str, size: int) -> bool:
        """Whether memory was freed, so that a call of `ref` with inputs of `size` bytes is worth
        another try."""
        least, until = self._in_vain.get(ref, (0, 0.0))
        if size >= least and clock.monotonic() < until:
            return False
        async with self._aside():
            return await self._made()

    def mark_ineffective(self, ref: str, size: int) -> None:
        """Room was made, and it was not enough for `size` bytes of inputs."""
        now = clock.monotonic()
        self._in_vain = {r: v for r, v in self._in_vain.items() if v[1] > now and r != ref}
        self._in_vain[ref] = (size, now + IN_VAIN_S)

    async def _made(self) -> bool:
        task = self._task
        if task is None or task.done():
            task = self._task = asyncio.create_task(self._surely())
        await asyncio.wait([task], timeout=LONGEST_S)
        return task.done() and task.result()

    async def _surely(self) -> bool:
        try:
            return await self._relieve()
        except WarmrouteError as error:
            log.warning("no room was made: %s", error.message)
        except Exception:
            log.exception("this is a bug: making room raised")
        return False
