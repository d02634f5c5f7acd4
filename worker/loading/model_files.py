"""The files of a model on this disk: for the time of its load, and for as long as it maps them.

On a CPU weights are mapped, not copied. A blob that were evicted meanwhile would only lose its
name: its blocks would stay taken, seen by no budget. So it stays pinned until the copy is freed,
and where the disk's budget is full of such blobs, idle copies are evicted for a load.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from shared.footprint import mapped_files
from shared.manifest import FileEntry, Manifest
from shared.repository import Repository
from worker.residency.context import WorkerContext
from worker.residency.host_tier import HostTier
from worker.residency.memory_manager import MemoryManager
from worker.weight_cache.cache import BlobCache
from worker.weight_cache.space import CacheFull


class NoMemoryNow(Exception):
    """The model would fit, but the copies here stay for now: another worker may take the load."""


class ModelFiles:
    """Fetches what no nearer tier has, and pins it."""

    def __init__(
        self, context: WorkerContext, memory: MemoryManager, host: HostTier,
        repository: Repository, cache: BlobCache,
    ) -> None:  # fmt: skip
        self._copies = context.copies
        self._maps = context.device.kind == "cpu"
        self._memory = memory
        self._host = host
        self._repository = repository
        self._cache = cache

    @asynccontextmanager
    async def on_disk(
        self, ref: str, manifest: Manifest, *, evict: bool
    ) -> AsyncIterator[tuple[str, Mapping[str, Path]]]:
        """The farthest tier that a file must come from (host | disk | remote), and the paths of
        those that are not in host memory, until the end of the block. NoMemoryNow if the
        disk's budget is full of blobs that copies in use map (without `evict`: any copies)."""
        with self._host.promoting(manifest) as missing:
            tier = await self._tier_of(ref, missing)
            files = await self._ensure(missing, evict)
            try:
                yield tier, files
            finally:
                self._cache.release(missing)

    def pin(self, manifest: Manifest) -> list[FileEntry]:
        """Pin what a copy maps. The caller must `unpin` it when the copy is freed."""
        mapped = mapped_files(manifest) if self._maps else []
        if mapped:
            self._cache.pin(mapped)
        return mapped

    def unpin(self, mapped: list[FileEntry]) -> None:
        """Undo one `pin`."""
        if mapped:
            self._cache.release(mapped)

    async def _tier_of(self, ref: str, missing: list[FileEntry]) -> str:
        if self._host.holds(ref):
            return "host"
        return "remote" if await self._cache.missing(missing) else "disk"

    async def _ensure(self, missing: list[FileEntry], evict: bool) -> Mapping[str, Path]:
        while True:
            try:
                return await self._cache.ensure(self._repository, missing)
            except CacheFull as error:
                await self._unmap(error, evict)

    async def _unmap(self, error: CacheFull, evict: bool) -> None:
        """Evict a copy that maps blobs; the error itself if those of all would not be enough."""
        mapping = {copy.ref: copy.mapped for copy in self._copies.all() if copy.mapped}
        blobs = {entry.sha256: entry.size for mapped in mapping.values() for entry in mapped}
        if sum(blobs.values()) < error.short:
            raise error
        reason = "the weight cache is full of blobs that models map"
        if not (evict and await self._memory.evict_one(reason, only=mapping)):
            raise NoMemoryNow(f"{reason}, and all of those are in use") from error
