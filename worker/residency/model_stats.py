"""The statistics of a model in the cell: its policy, learned figures, and its holders."""

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
    """Of one model version. `own_bytes`: bytes of a copy on this class of device beside its shared
    blobs, None before the first load anywhere. `holders`: number of workers that hold it.
    `in_session`: a session needs it. `finding`: what an earlier load found out about its rows
    (`Ready.finding`), '' if nothing. `trial`: it is loaded to find out whether it can be. `peak`:
    what its calls took on this class of device (`Peak.text`), '' if that is not known."""

    policy: Policy
    own_bytes: int | None
    holders: int
    in_session: bool = False
    finding: str = ""
    trial: bool = False
    peak: str = ""


class ModelStatsReader:
    """Reads statistics from Redis; all commands of a call travel together."""

    def __init__(self, channel: Channel, keys: Keys, device_class: str) -> None:
        self._channel = channel
        self._keys = keys
        self._own = f"own:{device_class}"
        self._peak = f"peak:{device_class}"

    async def read(self, models: Sequence[tuple[str, Manifest]]) -> list[ModelStats]:
        """The statistics of each (ref, manifest). Unavailable if Redis does not answer."""
        return list(await asyncio.gather(*(self._read(ref, given) for ref, given in models)))

    async def _read(self, ref: str, manifest: Manifest) -> ModelStats:
        ask, keys = self._channel.execute_command, self._keys
        with redis_errors():
            flat, learned, holders, sessions, versions, extra = await asyncio.gather(
                ask("HGETALL", keys.policy(ref)),
                ask("HMGET", keys.stats(ref), self._own, "rows", self._peak),
                ask("HLEN", keys.holders(ref)),
                ask("EXISTS", keys.pinned(ref)),
                ask("HKEYS", keys.loaded_versions(manifest.name)),
                ask("HGET", keys.load(ref), "extra"),
            )
        texts = [item.decode() for item in flat]
        overrides = dict(zip(texts[::2], texts[1::2], strict=True))
        own, rows, taken = learned
        own_bytes = int(own) if own and own.isdigit() else None
        finding = (rows or b"").decode(errors="replace")
        # What a manifest asks to keep holds for the newest version that has been loaded.
        is_newest = all(int(version) <= manifest.version for version in versions)
        given = manifest.residency if is_newest else wishing_nothing(manifest.residency)
        policy = effective(given, overrides)
        return ModelStats(
            policy, own_bytes, holders, sessions == 1, finding, extra == b"trial",
            (taken or b"").decode(errors="replace"),
        )  # fmt: skip
