"""The memory that a model needs on a device, as a gateway estimates it to refuse what cannot fit.

Workers decide by their own ledgers. This is the same sum, from the sizes of earlier loads, and
before the first load from the manifest. Blobs that several models share are counted for each: they
may be placed on different workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from router.catalog.catalog import Entry
from shared.connection import redis_errors
from shared.keys import Keys
from shared.manifest import Manifest
from shared.redis_decode import after_ms, clock_ms

OWN = b"own:"
# Formats of which files are attached as they are, and how the names of those begin. What a copy has
# of its own is added; the other formats have nothing else.
ATTACHED = {"pytorch_program": "weights/", "pytorch_architecture": "weights/", "pytorch_pt2": ""}


class Footprints:
    """Reads learned bytes, and budgets, from Redis."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def budgets(self) -> list[int]:
        """Bytes that each live worker which is ready has for models."""
        with redis_errors():
            after = after_ms(clock_ms(await self._client.time()))
            live: Any = await self._client.zrangebyscore(self._keys.workers, after, "+inf")
            pipe = self._client.pipeline(transaction=False)
            for worker in live:
                pipe.hmget(self._keys.worker(worker.decode()), "state", "budget")
            rows = await pipe.execute() if live else []
        return [int(budget or 0) for state, budget in rows if state == b"ready"]

    async def of(self, entries: Sequence[Entry], budgets: Sequence[int]) -> list[int]:
        """Bytes of a copy of each; of a model with a `fraction` at least that share of the smallest
        of `budgets`."""
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for entry in entries:
                pipe.hgetall(self._keys.known(str(entry.ref)))
                pipe.hget(self._keys.policy(str(entry.ref)), "fraction")
            replies: Any = await pipe.execute() if entries else []
        smallest = min(budgets, default=0)
        return [
            max(size(entry.manifest, stats), round(_fraction(entry.manifest, given) * smallest))
            for entry, stats, given in zip(entries, replies[::2], replies[1::2], strict=True)
        ]


def size(manifest: Manifest, stats: dict[bytes, bytes]) -> int:
    """Bytes of a copy; `stats`: the statistics of earlier loads. The device class that needs the
    most counts: the worker is not stats yet."""
    own = [int(value) for name, value in stats.items() if name.startswith(OWN) and value.isdigit()]
    if not own:
        return manifest.total_bytes
    return max(own) + _attached(manifest)


def _attached(manifest: Manifest) -> int:
    start = ATTACHED.get(manifest.platform)
    if start is None:
        return 0
    return sum({f.sha256: f.size for f in manifest.files if f.name.startswith(start)}.values())


def _fraction(manifest: Manifest, override: bytes | None) -> float:
    try:
        return manifest.residency.fraction if override is None else float(override)
    except ValueError:
        return manifest.residency.fraction
