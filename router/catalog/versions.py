"""Which versions are loaded, as Redis knows them.

Workers record a loaded version when they announce a copy (`loaded_versions:<name>`), again
after Redis lost it. Gateways read that when they read the repository, never for a request. A newer
version is tried beside serving: its trial is an order like others, one load in the whole cell; one
that failed is not tried again for a while, longer each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container
from typing import Literal

from router.catalog.entries import Entry
from shared import statuses
from shared.channel import Channel
from shared.connection import redis_errors
from shared.keys import Keys
from shared.names import ModelRef
from shared.redis_decode import pairs, texts
from shared.scripts import GatewayScripts

LIFE_MS = 604_800_000  # since the last read

TrialState = Literal["live", "coming", "failed"]


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

    async def let_go(self, name: str, left: Container[int]) -> dict[int, str]:
        """Those of `of` that are among the versions `left` in the repository; of the others
        nothing is kept or pinned any more: no call could take that back."""
        found = await self.of(name)
        for version, digest in found.items():
            if version not in left:
                await self._scripts.order_copy(str(ModelRef(name, version, digest)), 0)
        return {version: digest for version, digest in found.items() if version in left}

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
