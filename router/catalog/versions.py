"""What exists and what is loaded: versions as the repository and as Redis know them.

The repository is read a few times at once, in threads, so a flood of unknown names cannot flood the
store. Workers record a loaded version when they announce a copy (`loaded_versions:<name>`), again
after Redis lost it. Gateways read that when they read the repository, never for a request. A newer
version is tried beside serving: its trial is an order like others, one load in the whole cell; one
that failed is not tried again for a while, longer each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Literal, NamedTuple

from shared import manifest as manifests
from shared import statuses
from shared.channel import Channel
from shared.connection import redis_errors
from shared.errors import BlobMissing, NotFound
from shared.keys import Keys
from shared.manifest import Manifest
from shared.names import ModelRef
from shared.redis_decode import pairs, texts
from shared.repository import Repository
from shared.scripts import GatewayScripts

MAX_READS = 8
LIFE_MS = 604_800_000  # since the last read

TrialState = Literal["live", "coming", "failed"]


class Entry(NamedTuple):
    """A model version as requests use it. `loaded`: a worker has loaded it, as far as is known."""

    manifest: Manifest
    ref: ModelRef
    loaded: bool = False


class Entries:
    """Reads model versions in the repository. Each call may raise RepositoryError."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._slots = asyncio.Semaphore(MAX_READS)

    async def models(self) -> list[str]:
        """The names of all models."""
        async with self._slots:
            return await asyncio.to_thread(self._repository.list_models)

    async def versions(self, name: str) -> list[int]:
        """Versions of a model, ascending; [] if no model has that name."""
        async with self._slots:
            return await asyncio.to_thread(self._repository.list_versions, name)

    async def read(self, name: str, version: int) -> Entry:
        """One version; NotFound, or Corrupt if its manifest cannot be read."""
        async with self._slots:
            return await asyncio.to_thread(self._read, name, version)

    def _read(self, name: str, version: int) -> Entry:
        try:
            raw = self._repository.read_manifest(name, version)
        except BlobMissing:
            raise NotFound(f"model {name!r} has no version {version}") from None
        manifest = manifests.parse(raw, name=name, version=version)
        return Entry(manifest, manifests.ref_of(manifest, raw))


class LoadedVersions:
    """Versions that workers have loaded. Each call is one round trip; Unavailable."""

    def __init__(self, channel: Channel, keys: Keys, scripts: GatewayScripts) -> None:
        self._channel = channel
        self._keys = keys
        self._scripts = scripts

    async def of(self, name: str) -> dict[int, str]:
        """Version -> digest. Reading it extends its lifetime."""
        key, ask = self._keys.loaded_versions(name), self._channel.execute_command
        with redis_errors():
            flat, _ = await asyncio.gather(ask("HGETALL", key), ask("PEXPIRE", key, LIFE_MS))
        found = texts(pairs(flat))
        return {int(version): digest for version, digest in found.items() if version.isdecimal()}

    async def forget(self, name: str, versions: Iterable[int]) -> None:
        """Remove versions that are not in the repository any more."""
        with redis_errors():
            await self._channel.execute_command("HDEL", self._keys.loaded_versions(name), *versions)

    async def is_unloadable(self, entry: Entry) -> bool:
        """Whether its last load failed a short while ago, so it is not loaded now."""
        with redis_errors():
            key = self._keys.unloadable(str(entry.ref))
            return bool(await self._channel.execute_command("EXISTS", key))

    async def try_out(self, entry: Entry) -> TrialState:
        """Order a load of a version beside serving, unless that failed a short while ago."""
        return _trial_state((await self._scripts.order_copy(str(entry.ref), trial=True)).status)

    async def trial_state(self, entry: Entry) -> TrialState:
        """The state of a trial."""
        ref, ask = entry.ref, self._channel.execute_command
        with redis_errors():
            digest, load = await asyncio.gather(
                ask("HGET", self._keys.loaded_versions(ref.name), ref.version),
                ask("EXISTS", self._keys.load(str(ref))),
            )
        if digest == ref.digest.encode():
            return "live"
        return "coming" if load else "failed"


def _trial_state(status: str) -> TrialState:
    if status == statuses.HELD:
        return "live"
    return "coming" if status in statuses.PHASES else "failed"
