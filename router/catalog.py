"""Which models exist: a gateway's cache of the repository's manifests.

The repository is the truth and manifests are immutable, so a gateway keeps what it read. After
`ttl_s` it asks again beside serving: requests go on with what is known, also while the store does
not answer. Unknown names are remembered as unknown; lookups of one name are shared, and only a few
run at once, so a flood of unknown names cannot flood the store.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import NamedTuple

from shared import manifest as manifests
from shared.errors import BlobMissing, NotFound, WarmrouteError
from shared.manifest import Manifest
from shared.names import ModelRef, check_model_name
from shared.repository import Repository

MAX_LOOKUPS = 8
MAX_REMEMBERED = 20_000
STALE_S = 60.0
LATEST = 0
NOTHING = (0.0, None)


class Entry(NamedTuple):
    """A model version as requests use it."""

    manifest: Manifest
    ref: ModelRef


class Catalog:
    """Manifests by name and version. Blocking repository calls run in threads."""

    def __init__(self, repository: Repository, ttl_s: float) -> None:
        self._repository = repository
        self._ttl_s = ttl_s
        self._known: dict[tuple[str, int], tuple[float, Entry | NotFound]] = {}
        self._running: dict[tuple[str, int], asyncio.Task[Entry]] = {}
        self._slots = asyncio.Semaphore(MAX_LOOKUPS)

    async def resolve(self, name: str, version: int = LATEST) -> Entry:
        """The entry of a version (LATEST: the highest). NotFound or a RepositoryError."""
        fresh_until, known = self._known.get((name, version), NOTHING)
        fresh = fresh_until > time.monotonic()
        if isinstance(known, Entry):
            if fresh:
                return known
            await self._refresh(name, version, time.monotonic() - fresh_until)
            return self._last(name, version, known)
        if isinstance(known, NotFound) and fresh:
            # A new one each time: a raised exception holds on to its caller's frames.
            raise NotFound(known.message)
        return await asyncio.shield(self._look_up(check_model_name(name), version))

    async def index(self) -> list[tuple[str, list[int]]]:
        """Every model of the repository and its versions, ascending."""
        names = await asyncio.to_thread(self._repository.list_models)
        found = await asyncio.gather(*(self._versions(name) for name in names))
        return list(zip(names, found, strict=True))

    async def versions(self, name: str) -> list[int]:
        """Versions of a model; [] if there is none of that name."""
        return await self._versions(check_model_name(name))

    async def _versions(self, name: str) -> list[int]:
        async with self._slots:
            return await asyncio.to_thread(self._repository.list_versions, name)

    async def _refresh(self, name: str, version: int, stale_s: float) -> None:
        """Ask again beside serving; only what nobody asked for in a long while is waited for."""
        task = self._look_up(name, version)
        if stale_s > STALE_S:
            with suppress(WarmrouteError):  # the store is away: what is known must do
                await asyncio.shield(task)

    def _last(self, name: str, version: int, known: Entry) -> Entry:
        """What is known by now, after a refresh that may have been waited for."""
        latest = self._known.get((name, version), NOTHING)[1]
        if isinstance(latest, NotFound):
            raise NotFound(latest.message)
        return latest or known

    def _look_up(self, name: str, version: int) -> asyncio.Task[Entry]:
        """The one task that asks the repository for this version now."""
        key = (name, version)
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._read(name, version))
            self._running[key] = task
            task.add_done_callback(lambda done: self._remember(key, done))
        return task

    def _remember(self, key: tuple[str, int], task: asyncio.Task[Entry]) -> None:
        self._running.pop(key, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, NotFound):
            return  # a store that does not answer is asked again by the next request
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        result = NotFound(error.message) if isinstance(error, NotFound) else task.result()
        self._known[key] = (time.monotonic() + self._ttl_s, result)

    async def _read(self, name: str, version: int) -> Entry:
        async with self._slots:
            return await asyncio.to_thread(self._read_blocking, name, version)

    def _read_blocking(self, name: str, version: int) -> Entry:
        if version == LATEST:
            versions = self._repository.list_versions(name)
            if not versions:
                raise NotFound(f"model {name!r} is not in the repository")
            version = versions[-1]
        try:
            raw = self._repository.read_manifest(name, version)
        except BlobMissing:
            raise NotFound(f"model {name!r} has no version {version}") from None
        manifest = manifests.parse(raw, name=name, version=version)
        return Entry(manifest, manifests.ref_of(manifest, raw))
