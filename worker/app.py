"""Composition root of a worker: builds its parts, starts and stops them in a written order."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.bulk import open_bulk
from shared.channel import Channel
from shared.config import WorkerConfig
from shared.connection import check_redis, open_redis
from shared.keys import Keys
from shared.manifest import Manifest
from shared.repository import BlobCache, open_repository
from shared.scripts import Scripts
from shared.service import Loop, Supervisor
from worker.batcher import Batcher
from worker.cold_queue import ColdQueue
from worker.consumer import Consumer, entry_order
from worker.copies import Copies
from worker.device.base import Device
from worker.device.opening import open_device
from worker.device_thread import DeviceThread
from worker.evictor import Evictor
from worker.ledger import Ledger
from worker.loader import Loader
from worker.membership import BEAT_EVERY_S, Membership
from worker.parts import Parts
from worker.runtimes.base import LoadedModel, Trust, load

log = logging.getLogger(__name__)

GPU_SHARE, HOST_SHARE = 0.8, 0.5


def make_worker_id(config: WorkerConfig) -> str:
    """The configured name, or host, process and a random part: two are never the same."""
    if config.worker_id:
        return config.worker_id
    host = socket.gethostname().split(".")[0][:40] or "worker"
    return f"{host}-{os.getpid()}-{secrets.token_hex(2)}"


def _listed(text: str) -> list[str]:
    """The items of a comma list."""
    return [item.strip() for item in text.split(",") if item.strip()]


def budget_of(config: WorkerConfig, device: Device) -> int:
    """Bytes for models: the setting, or a share of what the device has."""
    share = GPU_SHARE if device.kind == "cuda" else HOST_SHARE
    return config.memory_bytes or int(device.memory_total() * share)


class Worker:
    """One device, its copies and its loops."""

    def __init__(self, config: WorkerConfig, loop: asyncio.AbstractEventLoop) -> None:
        self._config = config
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
        self._supervisor = Supervisor(
            [
                Loop("lease", self.membership.beat_once, BEAT_EVERY_S),
                Loop("receive", self._consumer.receive_once),
                Loop("dispatch", self._consumer.dispatch_once),
            ]
        )

    def _make_parts(self) -> Parts:
        config, copies = self._config, Copies()
        scripts = Scripts(self._calls, self._keys)
        membership = Membership(
            scripts, make_worker_id(config), config.lease_s, config.max_attempts, self._report,
            copies.held,
        )  # fmt: skip
        return Parts(
            scripts=scripts, membership=membership, copies=copies, batcher=Batcher(),
            ledger=Ledger(budget_of(config, self._device)), thread=DeviceThread(),
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
            load_here, config.load_concurrency, config.unloadable_s,
        )  # fmt: skip

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain."""
        await self._start()
        await self._until_told()
        await self._stop()

    async def _start(self) -> None:
        """Check the surroundings first: a worker that cannot load must not register."""
        for warning in await check_redis(self._client, self._config.redis_url):
            log.warning("Redis: %s", warning)
        await asyncio.to_thread(self._repository.check)
        self.membership.state = "ready"
        await self.membership.register()
        self._supervisor.start()
        self._cold_queue.start()
        log.info(
            "worker %s ready: device %s, budget %d MB",
            self.membership.worker, self._device.name, self._parts.ledger.budget // 1_000_000,
        )  # fmt: skip

    async def _stop(self) -> None:
        """Drain: no new loads or requests, finish what runs, hand back the rest, leave."""
        log.info("worker %s drains", self.membership.worker)
        self.membership.state = "draining"
        queue_stopped = asyncio.create_task(self._cold_queue.stop())
        await self._loader.stop()
        await self.membership.retire(self._parts.copies.retire_all())
        await self._supervisor.stop("receive", "dispatch")
        try:
            async with asyncio.timeout(self._config.drain_s):
                await self._consumer.drain()
        except TimeoutError:
            log.warning("the grace time is over: what runs is handed back")
        await self._supervisor.stop()
        # What is handed back may have to be loaded elsewhere: that order is not for us to take.
        await queue_stopped
        await self.membership.leave()
        await self._cache.close()
        for connection in (self._reads, self._calls, self._client):
            await connection.aclose()
        self._parts.thread.close()

    def _report(self) -> dict[str, Any]:
        return {
            "device": self._device.name,
            "budget": self._parts.ledger.budget,
            "used": self._parts.ledger.used,
            "loads": self._loader.loads,
            "host": self._bulk.host if self._bulk else "",
        }

    def _caught_up(self, last: bytes, since: float) -> bool:
        """Whether everything placed up to entry `last` has been taken in."""
        consumer = self._consumer
        return entry_order(consumer.last_read) >= entry_order(last) or consumer.idle_at > since

    async def _until_told(self) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sign, stop.set)
        await stop.wait()
