"""The manifests of what this worker loads. They never change, so each is read once.

They are kept on disk too, beside the blobs: a process that starts while the store is away can load
again what it had.
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
from shared.repository import Repository

KEPT = 10_000


class ManifestReader:
    """Reads them from the repository and keeps them, in `folder` too. The digest in a reference
    says whether what lies there is what is meant."""

    def __init__(self, repository: Repository, folder: Path) -> None:
        self._repository = repository
        self._folder = folder
        self._known: dict[ModelRef, Manifest] = {}

    async def read(self, ref: ModelRef) -> Manifest:
        """The manifest that the reference's digest stands for; RepositoryError."""
        known = self._known.get(ref)
        if known is not None:
            return known
        raw = await asyncio.to_thread(self._read, ref)
        manifest = manifests.parse(raw, name=ref.name, version=ref.version)
        if len(self._known) >= KEPT:
            self._known.clear()
        self._known[ref] = manifest
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
        with suppress(OSError):  # a full disk: it will be asked for again
            self._folder.mkdir(parents=True, exist_ok=True)
            partial = file.with_name(f"{ref.digest}.{os.getpid()}")
            partial.write_bytes(raw)
            partial.replace(file)
        return raw
