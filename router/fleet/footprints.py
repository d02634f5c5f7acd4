"""The footprint of a model as a gateway expects it: to say beforehand what cannot fit.

The workers decide by their own ledgers. A gateway computes the same sum (`shared/footprint.py`)
from what earlier loads have recorded. Blobs that several models share are counted for each model,
since the models may be loaded on different workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from router.catalog.catalog import Entry
from router.fleet.replies import replies_of
from shared.connection import redis_errors
from shared.footprint import expected
from shared.keys import Keys
from shared.manifest import Manifest
from shared.redis_decode import after_ms, cell_ms

OWN = b"own:"


class Footprints:
    """Reads learned bytes, and budgets, from Redis."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def budgets(self) -> list[int]:
        """The budget for models, in bytes, of each live worker that is ready."""
        with redis_errors():
            noted: Any = await self._client.get(self._keys.clock)
            after = after_ms(cell_ms(await self._client.time(), noted))
            live: Any = await self._client.zrangebyscore(self._keys.workers, after, "+inf")
            pipe = self._client.pipeline(transaction=False)
            for worker in live:
                pipe.hmget(self._keys.worker(worker.decode()), "state", "budget_bytes")
            rows = await replies_of(pipe, (None, None))
        return [int(budget) for state, budget in rows if state == b"ready" and _is_number(budget)]

    async def of(self, entries: Sequence[Entry], budgets: Sequence[int]) -> list[int]:
        """Bytes of a copy of each entry; of a model with a `fraction` at least that share of the
        smallest of `budgets`."""
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for entry in entries:
                pipe.hgetall(self._keys.stats(str(entry.ref)))
                pipe.hget(self._keys.policy(str(entry.ref)), "fraction")
            replies = await replies_of(pipe, {}, None)
        smallest = min(budgets, default=0)
        return [
            size(entry.manifest, stats, _fraction(entry.manifest, override), smallest)
            for entry, stats, override in zip(entries, replies[::2], replies[1::2], strict=True)
        ]


def size(
    manifest: Manifest, stats: dict[bytes, bytes], fraction: float = 0.0, budget: int = 0
) -> int:
    """Bytes of a copy. `stats`: what Redis holds of earlier loads. The device class that takes the
    most counts: the gateway does not know which worker will load the model."""
    own = [int(value) for name, value in stats.items() if name.startswith(OWN) and value.isdigit()]
    return expected(manifest, max(own, default=None), fraction, budget).total


def _is_number(text: bytes | None) -> bool:
    return text is not None and text.isdigit()


def _fraction(manifest: Manifest, override: bytes | None) -> float:
    try:
        return manifest.residency.fraction if override is None else float(override)
    except ValueError:
        return manifest.residency.fraction
