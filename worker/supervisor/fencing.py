"""Fencing: the parent gives up in Redis what a dead device process held, at once.

So no request waits for the lease to run out, and only the batch that ran is charged for the death.
"""

from __future__ import annotations

import logging

from shared import retry
from shared.channel import Channel
from shared.config import WorkerConfig
from shared.errors import Unavailable
from shared.keys import Keys
from shared.scripts import WorkerScripts
from shared.tasks import BackgroundTasks

log = logging.getLogger(__name__)

CLOSE_S = 5.0


class Fencing:
    """Fences epochs of one worker in the background, while its parent starts the next process."""

    def __init__(self, config: WorkerConfig, worker: str) -> None:
        self._worker = worker
        self._max_attempts = config.max_attempts
        self._channel = Channel(config.redis_url, config.cell)
        self._scripts = WorkerScripts(self._channel, Keys(config.cell))
        self._tasks = BackgroundTasks[None]()

    def fence(self, epoch: str, batch: int, cause: str, charge_models: bool = True) -> None:
        """Fence `epoch`; nothing if it is '', which was never registered. `batch`: the number of
        the batch that ran, 0 if none did. Without `charge_models` one of its requests is to blame,
        and neither a model nor this worker."""
        if epoch:
            self._tasks.start(self._fence(epoch, batch, cause, charge_models))

    async def close(self) -> None:
        """Wait for what is under way, for a few seconds at most: the lease runs out anyway."""
        await self._tasks.finish(CLOSE_S)
        await self._channel.aclose()

    async def _fence(self, epoch: str, batch: int, cause: str, charge_models: bool) -> None:
        try:
            moved = await retry.until_answered(
                lambda: self._scripts.fence_worker(
                    self._worker, epoch, batch, cause, self._max_attempts, charge_models
                )
            )
        except Unavailable as error:
            log.warning("epoch %s was not fenced: %s", epoch, error.message)
            return
        if moved >= 0:
            log.info("worker %s fenced epoch %s: %d requests moved", self._worker, epoch, moved)
