"""The parts of a worker, put together. What they do with each other stands in `app.py`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from shared.channel import Channel
from shared.config import WorkerConfig
from shared.connection import open_redis
from shared.errors import Unavailable
from shared.event_log import EventLog
from shared.keys import Keys
from shared.manifest import Manifest
from shared.repository import open_repository
from shared.scripts import Scripts
from shared.shared_memory import open_shared_memory
from worker.device.base import Device
from worker.device.budget import left_for_models
from worker.device.claiming import claim
from worker.device.opening import open_device, usable_gpus
from worker.device.thread import DeviceThread
from worker.loading.load_limiter import LoadLimiter
from worker.loading.load_pipeline import LoadPipeline
from worker.loading.loader import Loader
from worker.loading.manifest_reader import ManifestReader
from worker.loading.orders import ColdQueue, Orders
from worker.membership import Membership
from worker.residency.context import WorkerContext
from worker.residency.copies import Copies
from worker.residency.eviction_policy import policy_of
from worker.residency.evictor import Evictor
from worker.residency.gauge import Gauge
from worker.residency.growth import Growth
from worker.residency.host_tier import Demotion, HostTier
from worker.residency.idle_eviction import IdleEvictor
from worker.residency.ledger import Ledger
from worker.residency.memory_manager import MemoryManager
from worker.residency.memory_monitor import IdleTrimmer, MemoryMonitor
from worker.residency.model_stats import ModelStatsReader
from worker.runtimes.base import LoadedModel, Trust, load
from worker.serving.batcher import Batcher
from worker.serving.consumer import Consumer
from worker.serving.load_meter import Meter
from worker.serving.queued_request import entry_order
from worker.supervisor.progress import Progress
from worker.trial.guard import Guard
from worker.weight_cache.cache import BlobCache

GPU_SHARE, HOST_SHARE, DEMOTED_SHARE = 0.8, 0.5, 0.125


def _listed(text: str) -> list[str]:
    """The items of a comma list."""
    return [item.strip() for item in text.split(",") if item.strip()]


def budget_of(config: WorkerConfig, device: Device) -> int:
    """Bytes for models: the setting, or a share of what the device has left."""
    share = GPU_SHARE if device.kind == "cuda" else HOST_SHARE
    left = left_for_models(device.memory_total(), share, device.others(), device.overhead())
    return config.memory_bytes or left


def allowed_budget(config: WorkerConfig, device: Device) -> int:
    """What the device allows just now: less than the setting if other processes took memory."""
    left = left_for_models(device.memory_total(), 1.0, device.others(), device.overhead())
    return min(config.memory_bytes, left) if config.memory_bytes else budget_of(config, device)


def host_budget_of(config: WorkerConfig, device: Device) -> int:
    """Bytes for what has left the device but stays in host memory."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return config.host_memory_bytes or int(machine * DEMOTED_SHARE * (device.kind == "cuda"))


async def claim_and_open(config: WorkerConfig, scripts: Scripts, visible: str | None) -> Device:
    """The device of this worker: a GPU that no other has, or the CPU. `visible`: the value of
    CUDA_VISIBLE_DEVICES. ConfigError if there is none of what was asked for."""
    gpus = usable_gpus(visible)
    gpu = await claim(scripts, config.worker_id, config.device, gpus)
    return open_device(gpu or "cpu", threads=config.threads)


class Composition:
    """Everything that a worker consists of. `report` is what the heartbeat tells, `tell` sends a
    message to the parent (`pair/link.py`), `progress` is what it will find if this process dies."""

    def __init__(
        self, config: WorkerConfig, device: Device, calls: Channel, progress: Progress,
        tell: Callable[..., None], report: Callable[[], dict[str, Any]],
    ) -> None:  # fmt: skip
        self.config = config
        self.keys = Keys(config.cell)
        self.client = open_redis(config.redis_url)
        # Each blocking reader has a channel of its own: it would hold up what is sent behind it.
        self.calls, self.reads, self.told = (
            calls, Channel(config.redis_url), Channel(config.redis_url),
        )  # fmt: skip
        self.repository = open_repository(
            config.model_repository, endpoint_url=config.s3_endpoint_url or None
        )
        self.cache = BlobCache(Path(config.disk_cache), config.disk_cache_bytes)
        self.bulk = open_shared_memory(config.shared_memory, config.cell, config.redis_url)
        self.events = EventLog(self.calls, self.keys, config.worker_id)
        self.parts = self._make_parts(device, progress, tell, report)
        self.host = HostTier(host_budget_of(config, device), device)
        self.demotion = Demotion(self.host, self.cache, self.repository)
        self.evictor = Evictor(self.parts, self._caught_up, self.demotion, self.events)
        self.room = MemoryManager(
            self.parts, self.evictor, config.max_models, config.min_residency_loads
        )
        self.guard = Guard(self.parts, self.events)
        self.consumer = Consumer(
            self.reads, self.keys, self.parts, config.prefetch, self.bulk,
            relieve=self.room.evict_one, guard=self.guard,
        )  # fmt: skip
        self.parts.gauge.inflight = lambda: self.consumer.inflight.bytes
        self.facts = ModelStatsReader(self.calls, self.keys, device.device_class)
        self.loader = self._make_loader()
        self.idle_eviction = IdleEvictor(self.parts, self.evictor, self.facts)
        self.slack = IdleTrimmer(self.parts)
        self.growth = Growth(self.parts, self.room, self.evictor)
        self.orders = Orders(
            self.told, self.keys, config.worker_id, self.loader.may_take_order, self.loader.accept,
            lambda ref: self.evictor.evict(ref, "the API asked for it"),
        )  # fmt: skip

    def cold_queue(self, loop: asyncio.AbstractEventLoop) -> ColdQueue:
        """The reader of the shared orders; its handler runs on `loop`."""
        return ColdQueue(
            self.config.redis_url, self.keys, self.config.worker_id, self.loader.accept,
            self.loader.may_take_order, loop,
        )  # fmt: skip

    def memory_watch(self, renew: Callable[[str], bool]) -> MemoryMonitor:
        """What looks at the device's memory. `renew(why)` has this process replaced."""
        return MemoryMonitor(
            self.parts.device, self.parts.thread, self.parts.ledger,
            self.config.unaccounted_bytes, accounted=self._accounted, settled=self._settled,
            capacity=self._allowed, recycle=renew, resize=self.room.resize,
        )  # fmt: skip

    def _allowed(self) -> int:
        """The budget that the device allows just now; unchanged if it cannot be asked."""
        try:
            return allowed_budget(self.config, self.parts.device)
        except Unavailable:
            return self.parts.ledger.budget

    def _accounted(self) -> int:
        """Bytes of `device.allocated()` that are known of: on a CPU mapped blobs are the files'."""
        if self.parts.device.kind == "cuda":
            return self.parts.ledger.used
        own = sum(copy.model.bytes_resident for copy in self.parts.copies.all())
        return own + self.consumer.inflight.bytes

    def _settled(self) -> bool:
        """Whether models are here, and none is on its way."""
        return 0 < len(self.parts.copies.all()) == len(self.parts.ledger)

    async def close(self) -> None:
        """Files first, connections last."""
        await self.demotion.stop()
        await self.host.close()
        await self.events.finish(1.0)
        await self.cache.close()
        for connection in (self.reads, self.told, self.calls, self.client):
            await connection.aclose()

    def _make_parts(
        self, device: Device, progress: Progress, tell: Callable[..., None],
        report: Callable[[], dict[str, Any]],
    ) -> WorkerContext:  # fmt: skip
        config, policy = self.config, policy_of(self.config.eviction)
        copies, scripts = Copies(policy.used), Scripts(self.calls, self.keys)
        membership = Membership(
            scripts, config.worker_id, config.lease_s, config.max_attempts, report, copies.held
        )
        membership.on_epoch = lambda epoch: tell(epoch=epoch)
        return WorkerContext(
            scripts=scripts, membership=membership, copies=copies, batcher=Batcher(),
            ledger=Ledger(budget_of(config, device)), thread=DeviceThread(), device=device,
            policy=policy, gauge=Gauge(device.live), meter=Meter(), progress=progress,
        )  # fmt: skip

    def _make_loader(self) -> Loader:
        config, parts = self.config, self.parts
        trust = Trust.of_repository(
            self.repository.url, _listed(config.trust_code), _listed(config.trusted_programs)
        )

        def load_here(manifest: Manifest, files: Mapping[str, Path]) -> LoadedModel:
            return load(manifest, files, parts.device, trust)

        load_pipeline = LoadPipeline(
            parts, self.room, self.host, self.repository, self.cache, load_here,
            self.consumer.alone,
        )  # fmt: skip
        return Loader(
            parts, self.evictor, self.room, load_pipeline, self.facts,
            ManifestReader(self.repository, self.cache.manifests), self.events,
            LoadLimiter(config.load_concurrency, config.share_loads_s), config.unloadable_s,
        )  # fmt: skip

    def _caught_up(self, last: bytes, since: float) -> bool:
        """Whether everything placed up to entry `last` has been taken in."""
        consumer = self.consumer
        return entry_order(consumer.last_read) >= entry_order(last) or consumer.idle_at > since
