"""Which versions of a model are live: a worker has loaded them, and none has failed to since.

Workers say so when they announce a copy (`live:<name>`), again after Redis lost it. Gateways ask
when they read the repository, never for a request. A newer version is tried beside serving: its
trial is an order like others, one load in the whole cell; one that failed rests, longer each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Literal

from router.catalog.entries import Entry
from shared.channel import Channel
from shared.connection import redis_errors
from shared.keys import Keys
from shared.redis_decode import pairs, texts
from shared.scripts import Scripts

LIFE_MS = 604_800_000  # from the last time that anybody asked
HELD, COMING = ("held",), ("ordered", "loading")

Verdict = Literal["live", "coming", "failed"]


class LiveVersions:
    """What a cell knows of versions. Each call is one round trip; Unavailable."""

    def __init__(self, channel: Channel, keys: Keys, scripts: Scripts) -> None:
        self._channel = channel
        self._keys = keys
        self._scripts = scripts

    async def of(self, name: str) -> dict[int, str]:
        """Version -> digest. Who asks keeps it from being forgotten."""
        key, ask = self._keys.loaded_versions(name), self._channel.execute_command
        with redis_errors():
            flat, _ = await asyncio.gather(ask("HGETALL", key), ask("PEXPIRE", key, LIFE_MS))
        found = texts(pairs(flat))
        return {int(version): digest for version, digest in found.items() if version.isdecimal()}

    async def forget(self, name: str, versions: Iterable[int]) -> None:
        """They are no longer in the repository."""
        with redis_errors():
            await self._channel.execute_command("HDEL", self._keys.loaded_versions(name), *versions)

    async def is_unloadable(self, entry: Entry) -> bool:
        """Whether its last load failed a short while ago."""
        with redis_errors():
            key = self._keys.unloadable(str(entry.ref))
            return bool(await self._channel.execute_command("EXISTS", key))

    async def try_out(self, entry: Entry) -> Verdict:
        """Have a version loaded beside serving, unless that failed lately."""
        status = (await self._scripts.order_copy(str(entry.ref), trial=True)).status
        return "live" if status in HELD else "coming" if status in COMING else "failed"

    async def verdict(self, entry: Entry) -> Verdict:
        """How a trial stands."""
        ref, ask = entry.ref, self._channel.execute_command
        with redis_errors():
            digest, load = await asyncio.gather(
                ask("HGET", self._keys.loaded_versions(ref.name), ref.version),
                ask("EXISTS", self._keys.load(str(ref))),
            )
        if digest == ref.digest.encode():
            return "live"
        return "coming" if load else "failed"
