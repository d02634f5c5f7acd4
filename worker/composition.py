"""The services of a worker, built in the order of their dependencies. Their life is in `app.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from shared.channel import Channel
from shared.config import WorkerConfig, listed
from shared.connection import open_redis
from shared.event_log import EventLog
from shared.keys import Keys
from shared.manifest import Manifest
from shared.repository import open_repository
from shared.scripts import WorkerScripts
from shared.shared_memory import open_shared_memory
from worker.device.allocated_peak import AllocatedPeak
from worker.device.base import Device
from worker.device.budget import allowed_budget, budget_of, host_budget_of
from worker.device.resident_peak import ResidentPeak
from worker.device.self_test import SelfTest
from worker.device.shared_host import SharedHost
from worker.device.thread import DeviceThread
from worker.health.checks import LoadChecks, read_clocks
from worker.health.elsewhere import Elsewhere
from worker.health.monitor import HealthMonitor
from worker.heartbeat import HeartbeatThread
from worker.loading.load_limiter import LoadLimiter
from worker.loading.load_pipeline import LoadPipeline
from worker.loading.loader import Loader
from worker.loading.manifest_reader import ManifestReader
from worker.loading.orders import Orders
from worker.membership import Membership
from worker.report import Reporter
from worker.residency.account import Bookkeeper
from worker.residency.call_peaks import CallPeaks, allowance
from worker.residency.context import WorkerContext
from worker.residency.copies import Copies
from worker.residency.demotion import Demotion
from worker.residency.eviction_policy import policy_of
from worker.residency.evictor import Evictor
from worker.residency.gauge import Gauge, PeakMeter
from worker.residency.growth import Growth
from worker.residency.host_tier import HostTier
from worker.residency.idle_eviction import IdleEvictor
from worker.residency.ledger import Ledger
from worker.residency.memory_manager import MemoryManager
from worker.residency.memory_monitor import IdleTrimmer, MemoryMonitor
from worker.residency.model_stats import ModelStatsReader
from worker.runtimes.base import LoadedModel, Trust, load
from worker.serving.batcher import Batcher
from worker.serving.completions import Completions
from worker.serving.consumer import Consumer
from worker.serving.inflight import InflightWindow
from worker.serving.load_meter import Meter
from worker.serving.receiver import Receiver
from worker.supervisor.progress import Progress
from worker.weight_cache.cache import BlobCache
from worker.weight_cache.root import open_root

Send = Callable[..., None]


class Composition:
    """All services of one worker. `calls`: the channel of the scripts. `progress` and `send`:
    memory shared with the parent, and messages to it. `recycle(reason)` requests a restart;
    `leave(reason)` drains and ends a sick worker."""

    def __init__(
        self, config: WorkerConfig, device: Device, calls: Channel, progress: Progress, send: Send,
        recycle: Callable[[str], bool], leave: Callable[[str], object],
    ) -> None:  # fmt: skip
        self.config = config
        self._open(calls, device)
        self._inflight = InflightWindow(config.prefetch, models=lambda: self.context.batcher.models)
        self.context = self._make_context(device, progress, send)
        self._make_serving()
        self._make_residency(recycle)
        self.loader = self._make_loader()
        self._elsewhere = Elsewhere(calls, self._keys, config.worker_id, device.device_class)
        self.health = HealthMonitor(
            self.context.health,
            LoadChecks(
                self._cache.root, self.repository, partial(read_clocks, calls, self._keys)
            ),
            self._pipeline.warm_calls.try_again, self._elsewhere.served, self.context.copies.held,
            leave, self.events,
        )  # fmt: skip
        self.orders = Orders(
            calls, self._keys, config.worker_id, self.loader.may_take_order, self.loader.accept,
            lambda ref: self._evictor.evict(ref, "the API asked for it"),
            lambda: len(self.loader.tasks) > 0,
        )  # fmt: skip
        self.loader.tasks.on_end = self.orders.look
        self._reporter = Reporter(
            self.context, self._bookkeeper, self._host, self.loader, self.completions,
            self._memory, self.memory_monitor, max_models=config.max_models,
            host_id=self._shared_memory.host if self._shared_memory else "",
        )  # fmt: skip
        self.heartbeat = HeartbeatThread(config, self.context.membership, progress, self.orders)

    async def resize_host_tier(self) -> int:
        """Follow what the workers of the host leave to this one; the bytes."""
        device, part = self.context.device, self.host.memory
        budget = await asyncio.to_thread(host_budget_of, self.config, device, part)
        self._host.resize(budget)
        return budget

    async def close(self) -> None:
        """Close files first, connections last."""
        self.host.leave()
        if self._shared_memory is not None:
            self._shared_memory.leave()
        await self._demotion.stop()
        await self._host.close()
        await self.events.finish(1.0)
        await self._cache.close()
        for connection in (self._reads, self._large, self._calls, self.client):
            await connection.aclose()

    def _open(self, calls: Channel, device: Device) -> None:
        """Connections and stores."""
        config = self.config
        self._keys = Keys(config.cell)
        self.client = open_redis(config.redis_url, config.cell)
        # A blocking reader has a channel of its own: it would delay the commands behind it. So have
        # large outcomes; that one is opened for the first of them.
        self._calls = calls
        self._reads = Channel(config.redis_url, config.cell)
        self._large = Channel(config.redis_url, config.cell)
        self.repository = open_repository(config.model_repository, **config.store_options)
        root = open_root(config)
        self.host = SharedHost(config, device, root)
        self._cache = BlobCache(root, self.host.disk)
        self._shared_memory = open_shared_memory(
            config.shared_memory, config.cell, config.redis_url
        )
        self._host = HostTier(host_budget_of(config, device, self.host.memory), device)
        self.events = EventLog(calls, self._keys, config.worker_id)

    def _make_context(self, device: Device, progress: Progress, send: Send) -> WorkerContext:
        config, policy = self.config, policy_of(self.config.eviction)
        copies, scripts = Copies(policy.used), WorkerScripts(self._calls, self._keys)
        membership = Membership(
            scripts, config.worker_id, config.lease_s, config.max_attempts,
            report=lambda: self._reporter.fields(),  # called once the worker registers
            held=copies.held, on_epoch=lambda epoch: send(epoch=epoch),
            look_again=copies.look_again,
        )  # fmt: skip
        ledger = Ledger(budget_of(config, device, self.host.memory))

        def allowed() -> int:
            return allowance(ledger.budget, device.kind)

        peak: PeakMeter = ResidentPeak(device, allowed)
        if device.kind == "cuda":
            peak = AllocatedPeak(device.torch_device)
        gauge = Gauge(device.live, lambda: self._inflight.bytes, peak)
        return WorkerContext(
            scripts=scripts, membership=membership, copies=copies, batcher=Batcher(),
            ledger=ledger, thread=DeviceThread(SelfTest(device, progress).run), device=device,
            policy=policy, gauge=gauge, peaks=CallPeaks(allowed),
            meter=Meter(), progress=progress,
        )  # fmt: skip

    def _make_serving(self) -> None:
        """From the work stream to outcomes; memory for batches comes from the memory manager."""
        context = self.context
        self.completions = Completions(
            context.scripts,
            context.membership,
            self._inflight.release,
            self._shared_memory,
            large=WorkerScripts(self._large, self._keys),
            reads_since=lambda: self._reads.since,
        )
        self.receiver = Receiver(
            self._reads, self._keys, context.membership, context.batcher, self._inflight,
            self.completions, self._shared_memory,
        )  # fmt: skip
        self._demotion = Demotion(self._host, self._cache, self.repository)
        self._evictor = Evictor(context, self.receiver.caught_up, self._demotion, self.events)
        self._memory = MemoryManager(
            context, self._evictor, self.config.max_models, self.config.min_residency_loads
        )
        self.consumer = Consumer(
            context, self.receiver, self.completions, free_memory=self._memory.evict_one,
            events=self.events,
        )  # fmt: skip

    def _make_residency(self, recycle: Callable[[str], bool]) -> None:
        """What keeps the memory of the device in order."""
        config, context = self.config, self.context
        device, ledger = context.device, context.ledger
        self._bookkeeper = Bookkeeper(ledger, context.copies)
        self.memory_monitor = MemoryMonitor(
            device, context.thread, ledger, config.unaccounted_bytes,
            accounted=lambda: self._bookkeeper.allocated(device, self._inflight.bytes),
            settled=self._bookkeeper.settled,
            capacity=lambda: allowed_budget(config, device, ledger.budget, self.host.memory),
            recycle=recycle, resize=self._memory.resize,
        )  # fmt: skip
        self._stats = ModelStatsReader(self._calls, self._keys, device.device_class)
        self.growth = Growth(context, self._memory, self._evictor)
        self.slack = IdleTrimmer(context)
        self.idle_eviction = IdleEvictor(context, self._evictor, self._stats)

    def _make_loader(self) -> Loader:
        config, context = self.config, self.context
        trust = Trust.of_repository(
            self.repository.url, listed(config.trust_code), listed(config.trusted_programs)
        )

        def load_here(manifest: Manifest, files: Mapping[str, Path]) -> LoadedModel:
            return load(manifest, files, context.device, trust)

        self._pipeline = LoadPipeline(
            context, self._memory, self._host, self.repository, self._cache, load_here,
            self.consumer.paused,
        )  # fmt: skip
        return Loader(
            context, self._evictor, self._memory, self._pipeline, self._stats,
            ManifestReader(self.repository, self._cache.manifests), self.events,
            LoadLimiter(config.load_concurrency, config.share_loads_s), config.unloadable_s,
        )  # fmt: skip
