"""The manifests of model versions, read once and kept, the last used ones.

A published version never changes, so its manifest is not read again. It can be deleted, and then
published once more with other content: a list of the versions of a model says which are left
(`keep_only`), and the version that requests without one get is compared with the repository from
time to time (`current`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from functools import partial
from typing import NamedTuple

from router.catalog.budget import Budget
from router.catalog.recent import Recent
from router.catalog.slots import Slots
from shared import manifest as manifests
from shared.errors import BlobMissing, Corrupt, Forbidden, NotFound
from shared.manifest import Manifest
from shared.names import ModelRef
from shared.repository import Repository

MAX_KEPT = 20_000
MAX_UNREADABLE = 4096
CHECKS_PER_S, CHECKS_BURST = 4.0, 32


class Entry(NamedTuple):
    """A model version as requests use it. `loaded`: a worker has loaded it, as far as is known."""

    manifest: Manifest
    ref: ModelRef
    loaded: bool = False


class Entries:
    """Model versions of the repository."""

    def __init__(self, repository: Repository, serving: Slots, background: Slots) -> None:
        self._repository = repository
        self._serving = serving
        self._background = background
        self._kept: Recent[tuple[str, int], Entry] = Recent(MAX_KEPT)
        self._unreadable: Recent[tuple[str, int], str] = Recent(MAX_UNREADABLE)
        self._versions: dict[str, set[int]] = {}  # that are kept
        self._checks = Budget(CHECKS_PER_S, CHECKS_BURST)
        self._reads: dict[tuple[str, int], asyncio.Task[Entry]] = {}

    def kept(self, name: str, version: int) -> Entry | None:
        """A version that was read before."""
        return self._kept.get((name, version))

    async def read(self, name: str, version: int) -> Entry:
        """One version; NotFound, Corrupt if its manifest cannot be read, or RepositoryError."""
        return self.kept(name, version) or await self._read(name, version)

    async def current(self, name: str, version: int) -> Entry:
        """As `read`, but compared with the repository, a few times a second in all."""
        known = None if self._checks.take() else self.kept(name, version)
        return known or await self._read(name, version)

    async def look_into(self, name: str, version: int) -> Entry:
        """As `read`, behind no request, and without keeping it: a look at all models must not
        push out those that requests use."""
        known = self.kept(name, version)
        if known is not None:
            return known
        return await self._ask(self._background, name, version)

    def trouble(self, name: str, version: int) -> str:
        """Why a version could not be read the last time; '' if it could, or was not read."""
        return self._unreadable.get((name, version)) or ""

    def keep_only(self, name: str, versions: Collection[int]) -> None:
        """Forget the other versions of a model: they are not in the repository any more."""
        for version in self._versions.get(name, set()) - set(versions):
            self._drop(name, version)

    def names(self) -> list[str]:
        """The models of which versions are kept."""
        return list(self._versions)

    async def _read(self, name: str, version: int) -> Entry:
        """All who read one version at a time share one call, which goes on when they leave."""
        key = (name, version)
        if key not in self._reads:
            self._reads[key] = task = asyncio.create_task(self._read_and_keep(name, version))
            task.add_done_callback(partial(self._end, key))
        return await asyncio.shield(self._reads[key])

    def _end(self, key: tuple[str, int], task: asyncio.Task[Entry]) -> None:
        del self._reads[key]
        if not task.cancelled():
            task.exception()  # its readers have it, if any are left

    async def _read_and_keep(self, name: str, version: int) -> Entry:
        try:
            entry = await self._ask(self._serving, name, version)
        except NotFound:
            self._drop(name, version)
            raise
        self._versions.setdefault(name, set()).add(version)
        for key in self._kept.put((name, version), entry):
            self._forget(*key)
        return entry

    async def _ask(self, slots: Slots, name: str, version: int) -> Entry:
        try:
            entry = await slots.run(_read, self._repository, name, version)
        except (Corrupt, Forbidden) as error:
            self._unreadable.put((name, version), error.message)
            raise
        self._unreadable.pop((name, version))
        return entry

    def _drop(self, name: str, version: int) -> None:
        if self._kept.pop((name, version)) is not None:
            self._forget(name, version)

    def _forget(self, name: str, version: int) -> None:
        self._versions[name].discard(version)
        if not self._versions[name]:
            del self._versions[name]


def _read(repository: Repository, name: str, version: int) -> Entry:
    try:
        raw = repository.read_manifest(name, version)
    except BlobMissing:
        raise NotFound(f"model {name!r} has no version {version}") from None
    manifest = manifests.parse(raw, name=name, version=version)
    return Entry(manifest, manifests.ref_of(manifest, raw))
