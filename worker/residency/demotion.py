"""The way of an evicted copy's weights to host memory, beside serving."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from shared.errors import WarmrouteError
from shared.footprint import weight_files
from shared.manifest import FileEntry
from shared.repository import Repository
from shared.tasks import BackgroundTasks
from worker.residency.copies import Copy
from worker.residency.host_tier import HostTier
from worker.weight_cache.cache import BlobCache

log = logging.getLogger(__name__)


class Demotion:
    """Moves evicted copies to host memory, beside serving. If that fails the next load is
    slower."""

    def __init__(self, host: HostTier, cache: BlobCache, repository: Repository) -> None:
        self._host = host
        self._cache = cache
        self._repository = repository
        self._moving = BackgroundTasks[None]()
        self._mapped: dict[str, Sequence[FileEntry]] = {}
        host.on_free = self._unpin

    def tier_of(self, copy: Copy) -> str:
        """The tier to which the copy moves: `host` if it can be kept there, else `disk`."""
        return "host" if self._host.could_keep(copy.manifest) else "disk"

    def freed(self, copy: Copy, tier: str) -> None:
        """The copy maps its files no longer. Start the move; a load that needs the device's memory
        does not wait for it."""
        if tier == "host":
            self._moving.start(self._move(copy))
        if copy.mapped:
            self._cache.release(copy.mapped)
            copy.mapped = ()

    async def stop(self) -> None:
        """Cancel the moves that are under way."""
        for task in self._moving:
            task.cancel()
        await asyncio.gather(*self._moving, return_exceptions=True)

    async def _move(self, copy: Copy) -> None:
        files = self._host.missing(copy.manifest)
        if await self._cache.missing(files):
            return  # what is no longer on disk either is not fetched for this
        try:
            paths = await self._cache.ensure(self._repository, files)
        except WarmrouteError as error:
            log.warning("%s is not kept in host memory: %s", copy.ref, error.message)
            return
        try:
            if await self._host.keep(copy.ref, copy.manifest, paths):
                self._pin(copy)
        finally:
            self._cache.release(files)

    def _pin(self, copy: Copy) -> None:
        """On a CPU the host tier maps the blobs too (`ModelFiles`)."""
        if self._host.maps and self._host.holds(copy.ref) and copy.ref not in self._mapped:
            self._mapped[copy.ref] = weight_files(copy.manifest)
            self._cache.pin(self._mapped[copy.ref])

    def _unpin(self, ref: str) -> None:
        if mapped := self._mapped.pop(ref, None):
            self._cache.release(mapped)
