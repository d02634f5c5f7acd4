"""What the fleet holds, read from the residency map for people and for readiness."""

from __future__ import annotations

import time
from typing import Any

from redis.asyncio import Redis

from shared.connection import redis_errors
from shared.keys import Keys
from shared.names import ModelRef


class Residency:
    """Reads of the residency map; each is one pipeline per worker."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def live_workers(self) -> list[str]:
        """Ids of workers whose lease has not run out, in order."""
        with redis_errors():
            seconds, micros = await self._client.time()
            now = seconds * 1000 + micros // 1000
            found: Any = await self._client.zrangebyscore(self._keys.workers, now, "+inf")
        return sorted(worker.decode() for worker in found)

    async def ready_anywhere(self, ref: ModelRef) -> bool:
        """Whether some live worker holds the model."""
        with redis_errors():
            holders: Any = await self._client.hkeys(self._keys.holders(str(ref)))
        live = set(await self.live_workers())
        return any(worker.decode() in live for worker in holders)

    async def report(self) -> dict[str, Any]:
        """The document of GET /v2/residency."""
        return {"workers": [await self._worker(w) for w in await self.live_workers()]}

    async def _worker(self, worker: str) -> dict[str, Any]:
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            pipe.hgetall(self._keys.worker(worker))
            pipe.xlen(self._keys.work(worker))
            pipe.smembers(self._keys.holds(worker))
            fields, queue, refs = await pipe.execute()
        known = {name.decode(): value.decode() for name, value in fields.items()}
        held = sorted(ref.decode() for ref in refs)
        return {
            "id": worker,
            "device": known.get("device", ""),
            "state": known.get("state", ""),
            "budget_bytes": int(known.get("budget", 0)),
            "used_bytes": int(known.get("used", 0)),
            "queue": queue,
            "models": await self._models(worker, held),
        }

    async def _models(self, worker: str, held: list[str]) -> list[dict[str, Any]]:
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for ref in held:
                pipe.hget(self._keys.holders(ref), worker)
            tiers = await pipe.execute() if held else []
        return [_model(ref, held_as) for ref, held_as in zip(held, tiers, strict=True) if held_as]


def _model(ref: str, held_as: bytes) -> dict[str, Any]:
    """A row of the map; `held_as` is `tier bytes since-ms`, as `announce` writes it."""
    parsed = ModelRef.parse(ref)
    tier, size, since_ms = held_as.decode().split(" ")
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(float(since_ms) / 1000))
    return {
        "name": parsed.name,
        "version": str(parsed.version),
        "tier": tier,
        "bytes": int(size),
        "since": since,
    }
