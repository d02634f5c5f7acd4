"""What the cell knows of a model: the policy that the API set, learned figures, its holders."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from shared.channel import Channel
from shared.connection import redis_errors
from shared.keys import Keys
from shared.manifest import Manifest
from shared.policy import Policy, effective, wishing_nothing


class ModelStats(NamedTuple):
    """Of one model version. `own`: bytes of a copy on this device class beside its shared blobs,
    None before the first load anywhere. `holders`: workers that hold it. `pinned`: a session wants
    it. `rows`: what an earlier load found of its rows (`Ready.finding`), '' if nothing. `trial`: it
    is loaded to see whether that can be done."""

    policy: Policy
    own: int | None
    holders: int
    pinned: bool = False
    rows: str = ""
    trial: bool = False


class ModelStatsReader:
    """Reads them from Redis; all commands of a call travel together."""

    def __init__(self, channel: Channel, keys: Keys, device_class: str) -> None:
        self._channel = channel
        self._keys = keys
        self._own = f"own:{device_class}"

    async def read(self, models: Sequence[tuple[str, Manifest]]) -> list[ModelStats]:
        """The facts of (ref, manifest) each. Unavailable if Redis does not answer."""
        return list(await asyncio.gather(*(self._read(ref, given) for ref, given in models)))

    async def _read(self, ref: str, manifest: Manifest) -> ModelStats:
        ask, keys = self._channel.execute_command, self._keys
        with redis_errors():
            flat, learned, holders, pinned, live, extra = await asyncio.gather(
                ask("HGETALL", keys.policy(ref)),
                ask("HMGET", keys.stats(ref), self._own, "rows"),
                ask("HLEN", keys.holders(ref)),
                ask("EXISTS", keys.pinned(ref)),
                ask("HKEYS", keys.loaded_versions(manifest.name)),
                ask("HGET", keys.load(ref), "extra"),
            )
        texts = [part.decode() for part in flat]
        overrides = dict(zip(texts[::2], texts[1::2], strict=True))
        own, rows = learned
        known = int(own) if own and own.isdigit() else None
        found = (rows or b"").decode(errors="replace")
        # What a manifest asks to keep holds for the newest version that has been loaded.
        is_newest = all(int(version) <= manifest.version for version in live)
        given = manifest.residency if is_newest else wishing_nothing(manifest.residency)
        policy = effective(given, overrides)
        return ModelStats(policy, known, holders, pinned == 1, found, extra == b"trial")
