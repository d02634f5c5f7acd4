"""Reads of the repository for a gateway: a few at a time, in threads.

So a flood of unknown names cannot flood the store.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from shared import manifest as manifests
from shared.errors import BlobMissing, NotFound
from shared.manifest import Manifest
from shared.names import ModelRef
from shared.repository import Repository

MAX_LOOKUPS = 8


class Entry(NamedTuple):
    """A model version as requests use it. `live`: it has been loaded, as far as is known here."""

    manifest: Manifest
    ref: ModelRef
    live: bool = False


class Entries:
    """Model versions as they stand in the repository now. Each call may raise RepositoryError."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._slots = asyncio.Semaphore(MAX_LOOKUPS)

    async def models(self) -> list[str]:
        """Names under which something lies."""
        async with self._slots:
            return await asyncio.to_thread(self._repository.list_models)

    async def versions(self, name: str) -> list[int]:
        """Versions of a model, ascending; [] if there is none of that name."""
        async with self._slots:
            return await asyncio.to_thread(self._repository.list_versions, name)

    async def read(self, name: str, version: int) -> Entry:
        """One version; NotFound if there is none, Corrupt if its manifest is none."""
        async with self._slots:
            return await asyncio.to_thread(self._read, name, version)

    def _read(self, name: str, version: int) -> Entry:
        try:
            raw = self._repository.read_manifest(name, version)
        except BlobMissing:
            raise NotFound(f"model {name!r} has no version {version}") from None
        manifest = manifests.parse(raw, name=name, version=version)
        return Entry(manifest, manifests.ref_of(manifest, raw))
