"""What a dead device process left in Redis is given up by its parent, at once and until answered.

So nothing waits for the end of its lease, and only what ran when it died is charged for the death.
"""

from __future__ import annotations

import asyncio
import logging

from shared import retry
from shared.channel import Channel
from shared.config import WorkerConfig
from shared.errors import Unavailable
from shared.keys import Keys
from shared.scripts import Scripts

log = logging.getLogger(__name__)

CLOSE_S = 5.0


class Disowner:
    """Gives up epochs of one worker, beside whatever its parent does next."""

    def __init__(self, config: WorkerConfig, worker: str) -> None:
        self._worker = worker
        self._max_attempts = config.max_attempts
        self._channel = Channel(config.redis_url)
        self._scripts = Scripts(self._channel, Keys(config.cell))
        self._tasks: set[asyncio.Task[None]] = set()

    def disown(self, epoch: str, batch: int, cause: str) -> None:
        """Give up `epoch`; `batch` is what ran, 0 if nothing did. '' was never registered."""
        if epoch:
            task = asyncio.create_task(self._disown(epoch, batch, cause))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait for what is under way, but not for long: the lease runs out anyway."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_S)
        for task in self._tasks:
            task.cancel()
        await self._channel.aclose()

    async def _disown(self, epoch: str, batch: int, cause: str) -> None:
        try:
            moved = await retry.until_answered(
                lambda: self._scripts.fence_worker(
                    self._worker, epoch, batch, cause, self._max_attempts
                )
            )
        except Unavailable as error:
            log.warning("epoch %s was not given up: %s", epoch, error.message)
            return
        if moved >= 0:
            log.info("worker %s gave up epoch %s: %d requests moved", self._worker, epoch, moved)
