"""Whether other workers can do what this one fails: then it is this worker, and no model.

Asked only while a worker has failed everything for minutes, so that a cell without another healthy
worker keeps the one it has, however many of its models are broken.
"""

from __future__ import annotations

import asyncio

from shared import statuses
from shared.channel import Channel
from shared.connection import redis_errors
from shared.errors import Unavailable
from shared.keys import Keys
from shared.redis_decode import clock_ms, is_alive, number, pairs, text_of, texts
from worker.health.failure_row import Unexplained

MOST = 8  # holders of a model that are looked at, by chance


def loaded_since(copy: str, now_ms: int, seconds: float) -> bool:
    """Whether a copy, `tier bytes since` in the map, was loaded within the last `seconds`."""
    return number(copy.rpartition(" ")[2]) >= now_ms - seconds * 1000


def is_well(unhealthy: str, ref: str) -> bool:
    """Whether a worker is healthy and does not fail `ref`, by its field of `unhealthy`."""
    health, *failing = [*unhealthy.split(" "), ""]
    return health not in (statuses.SUSPECT, statuses.SICK) and ref not in failing


class Elsewhere:
    """Looks at the other workers of this one's device class."""

    def __init__(self, channel: Channel, keys: Keys, worker: str, device_class: str) -> None:
        self._ask = channel.execute_command
        self._keys = keys
        self._worker = worker
        self._class = device_class

    async def served(self, failed: Unexplained) -> list[str]:
        """Those of the models that another healthy worker of the class holds. If loads failed here,
        only copies count that were loaded meanwhile: an older one says nothing of the store now.
        [] if Redis does not answer."""
        try:
            with redis_errors():
                now_ms = clock_ms(await self._ask("TIME"))
                return [ref for ref in failed.refs if await self._is_served(ref, failed, now_ms)]
        except Unavailable:
            return []

    async def _is_served(self, ref: str, failed: Unexplained, now_ms: int) -> bool:
        found = await self._ask("HRANDFIELD", self._keys.holders(ref), MOST, "WITHVALUES")
        others = [
            worker for worker, copy in texts(pairs(found or ())).items()
            if worker != self._worker
            and (not failed.loads or loaded_since(copy, now_ms, failed.age_s))
        ]  # fmt: skip
        return any(await asyncio.gather(*(self._can(other, ref, now_ms) for other in others)))

    async def _can(self, worker: str, ref: str, now_ms: int) -> bool:
        ends, (state, device_class), unhealthy = await asyncio.gather(
            self._ask("ZSCORE", self._keys.workers, worker),
            self._ask("HMGET", self._keys.worker(worker), "state", "device_class"),
            self._ask("HGET", self._keys.unhealthy, worker),
        )
        ready = state == b"ready" and is_alive(number(text_of(ends)), now_ms)
        return ready and text_of(device_class) == self._class and is_well(text_of(unhealthy), ref)
