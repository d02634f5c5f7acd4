"""A copy that leaves the device: its weights stay in host memory, or only on disk."""

from __future__ import annotations

import asyncio
import logging

from shared.errors import WarmrouteError
from shared.repository import Repository
from worker.residency.copies import Copy
from worker.residency.host_tier import HostTier
from worker.weight_cache.cache import BlobCache

log = logging.getLogger(__name__)


class Demotion:
    """Moves copies to host memory, beside serving. A failure only makes the next load slower."""

    def __init__(self, host: HostTier, cache: BlobCache, repository: Repository) -> None:
        self._host = host
        self._cache = cache
        self._repository = repository
        self._moving: set[asyncio.Task[None]] = set()

    def tier_of(self, copy: Copy) -> str:
        """Where it will be: `host` if it can be kept there, else `disk`."""
        return "host" if self._host.could_keep(copy.manifest) else "disk"

    def begin(self, copy: Copy, tier: str) -> None:
        """Start the move; the newcomer that needs the room on the device does not wait for it."""
        if tier != "host":
            return
        task = asyncio.create_task(self._move(copy))
        self._moving.add(task)
        task.add_done_callback(self._moving.discard)

    async def stop(self) -> None:
        """Give up what is under way."""
        for task in self._moving:
            task.cancel()
        await asyncio.gather(*self._moving, return_exceptions=True)

    async def _move(self, copy: Copy) -> None:
        files = self._host.missing(copy.manifest)
        if await self._cache.missing(files):
            return  # what has left the disk too is not fetched for this
        try:
            paths = await self._cache.ensure(self._repository, files)
        except WarmrouteError as error:
            log.warning("%s is not kept in host memory: %s", copy.ref, error.message)
            return
        try:
            await self._host.keep(copy.ref, copy.manifest, paths)
        finally:
            self._cache.release(files)
