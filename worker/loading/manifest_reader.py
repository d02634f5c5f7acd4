"""The manifests of the models that this worker loads. They never change, so each is read once.

They are kept on disk too, beside the blobs: a process that starts while the store is unavailable
can load again what it had.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

from shared import manifest as manifests
from shared.errors import ChangedMeanwhile
from shared.manifest import Manifest
from shared.names import ModelRef
from shared.owned_folder import make_owned
from shared.repository import Repository

KEPT = 10_000


class ManifestReader:
    """Reads manifests from the repository and keeps them in memory and in `folder`. A file there is
    used only if it has the digest of the reference."""

    def __init__(self, repository: Repository, folder: Path) -> None:
        self._repository = repository
        self._folder = folder
        self._manifests: dict[ModelRef, Manifest] = {}

    async def read(self, ref: ModelRef) -> Manifest:
        """The manifest with the digest of the reference; RepositoryError if it cannot be read."""
        found = self._manifests.get(ref)
        if found is not None:
            return found
        raw = await asyncio.to_thread(self._read, ref)
        manifest = manifests.parse(raw, name=ref.name, version=ref.version)
        if len(self._manifests) >= KEPT:
            self._manifests.clear()
        self._manifests[ref] = manifest
        return manifest

    def _read(self, ref: ModelRef) -> bytes:
        file = self._folder / ref.digest
        with suppress(OSError):
            raw = file.read_bytes()
            if manifests.digest_of(raw) == ref.digest:
                return raw
        raw = self._repository.read_manifest(ref.name, ref.version)
        if manifests.digest_of(raw) != ref.digest:
            raise ChangedMeanwhile(f"model {ref.name} version {ref.version} was published again")
        with suppress(OSError):  # a full disk: the next process reads it from the repository
            make_owned(self._folder)
            partial = file.with_name(f"{ref.digest}.{os.getpid()}")
            partial.write_bytes(raw)
            partial.replace(file)
        return raw
