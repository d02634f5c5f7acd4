"""Composition root of a worker: builds its parts, starts and stops them in a written order."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.bulk import open_bulk
from shared.channel import Channel
from shared.config import WorkerConfig
from shared.connection import open_redis
from shared.errors import Unavailable
from shared.keys import Keys
from shared.manifest import Manifest
from shared.redis_check import check_redis
from shared.repository import BlobCache, open_repository
from shared.retry import until_answered
from shared.scripts import Scripts
from shared.service import Loop, Supervisor
from worker.batcher import Batcher
from worker.cold_queue import ColdQueue
from worker.consumer import Consumer
from worker.copies import Copies
from worker.device.base import Device
from worker.device.opening import open_device
from worker.device_thread import DeviceThread
from worker.evictor import Evictor
from worker.heart import Heart
from worker.ledger import Ledger
from worker.loader import Loader
from worker.membership import Membership
from worker.pair.progress import Progress
from worker.parts import Parts
from worker.rate import Rate
from worker.runtimes.base import LoadedModel, Trust, load
from worker.work import entry_order

log = logging.getLogger(__name__)

GPU_SHARE, HOST_SHARE = 0.8, 0.5
HOT_EVERY_S = 1.0
LEAVE_S = 5.0
ENDS = ("succeeded", "failed", "expired")


def _listed(text: str) -> list[str]:
    """The items of a comma list."""
    return [item.strip() for item in text.split(",") if item.strip()]


def budget_of(config: WorkerConfig, device: Device) -> int:
    """Bytes for models: the setting, or a share of what the device has."""
    share = GPU_SHARE if device.kind == "cuda" else HOST_SHARE
    return config.memory_bytes or int(device.memory_total() * share)


class Worker:
    """One device, its copies and its loops. `tell` sends a message to the parent (`pair/link.py`),
    and `progress` is what it will find if this process dies."""

    def __init__(
        self, config: WorkerConfig, loop: asyncio.AbstractEventLoop, progress: Progress,
        tell: Callable[..., None],
    ) -> None:  # fmt: skip
        self._config = config
        self._progress = progress
        self._tell = tell
        self._told: list[str] = []
        self._stopping = asyncio.Event()
        self._keys = Keys(config.cell)
        self._client = open_redis(config.redis_url)
        # The blocking reader has a channel of its own: it would hold up what is sent behind it.
        self._calls, self._reads = Channel(config.redis_url), Channel(config.redis_url)
        self._repository = open_repository(
            config.model_repository, endpoint_url=config.s3_endpoint_url or None
        )
        self._cache = BlobCache(Path(config.disk_cache), config.disk_cache_bytes)
        self._device = open_device(config.device or None, threads=config.threads)
        self._bulk = open_bulk(config.shared_memory, config.cell, config.redis_url)
        self._parts = self._make_parts()
        self.membership = self._parts.membership
        self._consumer = Consumer(self._reads, self._keys, self._parts, config.prefetch, self._bulk)
        self._loader = self._make_loader()
        self._cold_queue = ColdQueue(
            config.redis_url, self._keys, self.membership.worker, self._loader.accept,
            self._loader.may_take_order, loop,
        )  # fmt: skip
        self._heart = Heart(config, self.membership, progress)
        self._rate = Rate()
        self._supervisor = Supervisor(
            [
                Loop("hot", self._tell_hot, HOT_EVERY_S),
                Loop("receive", self._consumer.receive_once),
                Loop("dispatch", self._consumer.dispatch_once),
            ]
        )

    def _make_parts(self) -> Parts:
        config, copies = self._config, Copies()
        scripts = Scripts(self._calls, self._keys)
        membership = Membership(
            scripts, config.worker_id, config.lease_s, config.max_attempts, self._report,
            copies.held,
        )  # fmt: skip
        membership.on_epoch = lambda epoch: self._tell(epoch=epoch)
        return Parts(
            scripts=scripts, membership=membership, copies=copies, batcher=Batcher(),
            ledger=Ledger(budget_of(config, self._device)), thread=DeviceThread(),
            progress=self._progress,
        )  # fmt: skip

    def _make_loader(self) -> Loader:
        config = self._config
        trust = Trust.of_repository(
            self._repository.url, _listed(config.trust_code), _listed(config.trusted_programs)
        )

        def load_here(manifest: Manifest, files: Mapping[str, Path]) -> LoadedModel:
            return load(manifest, files, self._device, trust)

        return Loader(
            self._parts, Evictor(self._parts, self._caught_up), self._repository, self._cache,
            load_here, config.load_concurrency, config.unloadable_s, self._consumer.alone,
        )  # fmt: skip

    async def run(self, hot: Sequence[str] = (), again: bool = False) -> None:
        """Serve until `stop`, then drain. `hot` is loaded again, in this order. `again`: another
        process of this worker has served before."""
        if not again:
            await self._check_surroundings()
        await self._start()
        reloading = asyncio.create_task(self._loader.reload(hot))
        await self._stopping.wait()
        reloading.cancel()
        await self._stop()

    def stop(self) -> None:
        """Drain and end `run`."""
        self._stopping.set()

    async def _check_surroundings(self) -> None:
        """A worker that cannot load must not register. What served before is not asked again: it
        waits for Redis, and serves from its disk while the store is away."""
        config = self._config
        strict = bool(config.strict)
        for warning in await check_redis(self._client, config.redis_url, strict=strict):
            log.warning("Redis: %s", warning)
        await asyncio.to_thread(self._repository.check)

    async def _start(self) -> None:
        self.membership.state = "ready"
        await until_answered(self.membership.register)
        self._heart.start()
        self._supervisor.start()
        self._cold_queue.start()
        log.info(
            "worker %s ready: device %s, budget %d MB",
            self.membership.worker, self._device.name, self._parts.ledger.budget // 1_000_000,
        )  # fmt: skip

    async def _stop(self) -> None:
        """Drain, hand back the rest, leave. The grace time is for the first of these."""
        log.info("worker %s drains", self.membership.worker)
        self.membership.state = "draining"
        try:
            async with asyncio.timeout(self._config.drain_s):
                await self._drain()
            drained = True
        except TimeoutError:
            drained = False
            log.warning("the grace time is over: what runs is handed back")
        await self._supervisor.stop()
        await self._leave()
        await self._cache.close()
        for connection in (self._reads, self._calls, self._client):
            await connection.aclose()
        if drained:
            self._parts.thread.close()
        await self._heart.close()

    async def _drain(self) -> None:
        """No new loads or requests; what runs ends and is answered."""
        queue_stopped = asyncio.create_task(self._cold_queue.stop())
        await self._loader.stop()
        for ref in self._parts.copies.retire_all():
            await until_answered(functools.partial(self.membership.retire, [ref]))
        await self._supervisor.stop("receive", "dispatch")
        await self._consumer.drain()
        # What is handed back may have to be loaded elsewhere: that order is not for us to take.
        await queue_stopped

    async def _leave(self) -> None:
        """Hand back what is left; without Redis the end of the lease does the same."""
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._heart.rest()
                await until_answered(self.membership.leave)
        except (TimeoutError, Unavailable):
            log.warning("Redis does not answer: what is left is handed back when the lease ends")

    async def _tell_hot(self) -> None:
        """The parent knows what to load again if this process dies."""
        hot = self._parts.copies.hot()
        if hot != self._told:
            self._told = hot
            self._tell(hot=hot)

    def _report(self) -> dict[str, Any]:
        return {
            "device": self._device.name,
            "budget": self._parts.ledger.budget,
            "used": self._parts.ledger.used,
            "loads": self._loader.loads,
            "host": self._bulk.host if self._bulk else "",
            "rate": self._rate.at(sum(self._consumer.completions.counts[end] for end in ENDS)),
        }

    def _caught_up(self, last: bytes, since: float) -> bool:
        """Whether everything placed up to entry `last` has been taken in."""
        consumer = self._consumer
        return entry_order(consumer.last_read) >= entry_order(last) or consumer.idle_at > since
