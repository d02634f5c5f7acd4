"""From a manifest to a warm copy on the device, which nobody knows of yet.

    make room -> fetch what is not on this host -> load -> warm up -> measure -> open its queue

All of it runs beside serving. What fails leaves no bytes reserved and nothing half loaded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

from shared import clock, failpoints
from shared.errors import InsufficientMemory
from shared.manifest import FileEntry, Manifest
from shared.repository import Repository
from worker.device.base import DeviceOutOfMemory
from worker.device.thread import watched
from worker.loading.warmup import Ready, Warmup
from worker.loading.weighing import Weighing
from worker.residency.candidates import Wanted
from worker.residency.context import WorkerContext
from worker.residency.copies import Copy
from worker.residency.host_tier import HostTier
from worker.residency.ledger import Footprint, predict
from worker.residency.memory_manager import MemoryManager
from worker.residency.model_stats import ModelStats
from worker.runtimes.base import LoadedModel
from worker.trial.inputs import tried_names
from worker.weight_cache.cache import BlobCache

WARM_UP = 1 << 62  # as the number of a batch: no batch has it, so no request is charged
WARM_UP_LIMIT_S = 120.0

LoadFunction = Callable[[Manifest, Mapping[str, Path]], LoadedModel]
Alone = Callable[[], AbstractAsyncContextManager[None]]


class NoRoomNow(Exception):
    """It would fit, but what is here stays for now: another worker may take the load."""


class LoadRequest(NamedTuple):
    """A load as asked for. `suspect`: it has crashed a worker, so it is loaded while nothing else
    runs. `evict` False: into free room only. `waits` is told why it waits, '' when it does not."""

    ref: str
    manifest: Manifest
    facts: ModelStats
    suspect: bool = False
    evict: bool = True
    waits: Callable[[str], object] = lambda why: None


class LoadResult(NamedTuple):
    """A copy, from which tier it came (host | disk | remote), and how it is to be served."""

    copy: Copy
    tier: str
    ready: Ready

    def learned(self, device_class: str) -> dict[str, object]:
        """What the load teaches the next plan: fields of `known:<ref>`."""
        given = self.copy.manifest.residency
        return {
            f"own:{device_class}": self.copy.model.bytes_resident,
            f"shared:{device_class}": sum(self.copy.model.shared.values()),
            self.tier: round(self.copy.load_s * 1000),
            "min_copies": given.least_copies,
            "max_copies": given.max_copies,
            "pin": int(given.pin),
            "unwarmed": self.ready.cold,
            **({"rows": self.ready.finding} if self.ready.finding else {}),
        }


class LoadPipeline:
    """Loads copies. `alone()` is held while no batch runs."""

    def __init__(
        self,
        parts: WorkerContext,
        room: MemoryManager,
        host: HostTier,
        repository: Repository,
        cache: BlobCache,
        load: LoadFunction,
        alone: Alone,
    ) -> None:
        self._copies = parts.copies
        self._batcher = parts.batcher
        self._device = parts.thread
        self._ledger = parts.ledger
        self._progress = parts.progress
        self._policy = parts.policy
        self._room = room
        self._host = host
        self._repository = repository
        self._cache = cache
        self._load = load
        self._alone = alone
        self._warmup = Warmup()
        self._weighing = Weighing(parts)

    def footprint(self, manifest: Manifest, facts: ModelStats) -> Footprint:
        """What the copy will take: as learned, else as the manifest says."""
        least = int(facts.policy.fraction * self._ledger.whole)
        return predict(manifest, facts.own).at_least(least)

    async def run(self, wish: LoadRequest) -> LoadResult:
        """The copy, open for requests. InsufficientMemory says why there is no room, NoRoomNow why
        there is none just now."""
        wanted = self._wanted(wish, self.footprint(wish.manifest, wish.facts))
        await self._reserve(wish, wanted)
        begun = clock.monotonic()  # waiting for room is no part of what the load costs
        try:
            tier, model, ready = await self._bring_in(wish)
        except BaseException:
            self._ledger.release(wish.ref)
            raise
        load_s = clock.monotonic() - begun
        copy = await self._settle(wish, model)
        copy.load_s = load_s
        copy.unproved = wish.manifest.batching.max_size > 1 and ready.unproved
        copy.announcing = True
        self._policy.loaded(wish.ref, copy.load_s, copy.footprint.total, clock.monotonic())
        self._copies.add(copy)
        self._batcher.open(wish.ref, ready.batching, tried_names(wish.manifest))
        await failpoints.reach("load.warmed")
        return LoadResult(copy, tier, ready)

    @staticmethod
    def _wanted(wish: LoadRequest, footprint: Footprint) -> Wanted:
        policy = wish.facts.policy
        group, most = "", 0
        if policy.affinity is not None:
            group, most = policy.affinity.key, policy.affinity.max_models_per_worker
        return Wanted(wish.ref, footprint, policy.priority, group, most, wish.facts.trial)

    async def _reserve(self, wish: LoadRequest, wanted: Wanted) -> None:
        if not wish.evict:
            if not await self._room.take_free(wanted):
                raise self._too_large(wish, wanted.footprint, "that is not free")
            return
        refused = await self._room.make(wanted, wish.waits)
        if refused is not None and not refused.never:
            raise NoRoomNow(refused.why)
        if refused is not None:
            raise self._too_large(wish, wanted.footprint, refused.why)

    async def _settle(self, wish: LoadRequest, model: LoadedModel) -> Copy:
        """The reservation becomes what was measured."""
        least = int(wish.facts.policy.fraction * self._ledger.whole)
        shared = frozenset(model.shared.items())
        measured = Footprint(shared, model.bytes_resident).at_least(least)
        fits = False
        try:
            fits = await self._room.correct(self._wanted(wish, measured), wish.evict)
        finally:
            if not fits:
                await asyncio.shield(self._device.run(model.unload))
        if not fits:
            raise self._too_large(wish, measured, "as measured once it was loaded")
        facts = wish.facts
        return Copy(
            wish.ref, wish.manifest, model, measured, facts.policy, surplus=facts.holders > 0,
            wanted=facts.pinned,
        )  # fmt: skip

    def _too_large(self, wish: LoadRequest, footprint: Footprint, why: str) -> InsufficientMemory:
        manifest = wish.manifest
        return InsufficientMemory(
            f"model {manifest.name} version {manifest.version} needs {footprint.total} bytes, this "
            f"worker's budget is {self._ledger.budget}: {why}"
        )

    # From the repository to the device -------------------------------------------------------

    async def _bring_in(self, wish: LoadRequest) -> tuple[str, LoadedModel, Ready]:
        """Fetch what no nearer tier has, and load."""
        with self._host.promoting(wish.manifest) as missing:
            tier = await self._tier_of(wish, missing)
            files = await self._cache.ensure(self._repository, missing)
            try:
                await failpoints.reach("load.mid")
                model, ready = await self._bring_to_device(wish, files)
            finally:
                self._cache.release(missing)
        return tier, model, ready

    async def _tier_of(self, wish: LoadRequest, missing: list[FileEntry]) -> str:
        """The farthest tier that something must come from."""
        if self._host.holds(wish.ref):
            return "host"
        return "remote" if await self._cache.missing(missing) else "disk"

    async def _bring_to_device(
        self, wish: LoadRequest, files: Mapping[str, Path]
    ) -> tuple[LoadedModel, Ready]:
        """A device that proves fuller than the ledger says: evict one more copy, and try again."""
        try:
            return await self._try_to_bring(wish, files)
        except DeviceOutOfMemory:
            await self._room.relieve()  # not while `alone`: who leaves may have requests to answer
        try:
            return await self._try_to_bring(wish, files)
        except DeviceOutOfMemory as error:
            raise InsufficientMemory(
                f"model {wish.manifest.name} version {wish.manifest.version}: {error.message}, "
                "although the budget has room for it"
            ) from error

    async def _try_to_bring(
        self, wish: LoadRequest, files: Mapping[str, Path]
    ) -> tuple[LoadedModel, Ready]:
        alone, manifest = self._alone() if wish.suspect else nullcontext(), wish.manifest
        async with alone, self._weighing.load(manifest) as span:
            model = await self._in_thread(manifest, files)
            try:
                ready = await self._device.run(lambda: self._warm_up(wish, model))
                await self._weighing.weigh(manifest, model, span, wish.facts.own)
            except BaseException:
                await self._device.run(model.unload)
                raise
            return model, ready

    async def _in_thread(self, manifest: Manifest, files: Mapping[str, Path]) -> LoadedModel:
        """The model in host memory. A load that is given up here ends with its thread, which cannot
        be stopped: until then its bytes and files are in use."""
        loading = asyncio.create_task(
            asyncio.to_thread(watched, lambda: self._load(manifest, files))
        )
        try:
            return await asyncio.shield(loading)
        except asyncio.CancelledError:
            await asyncio.wait([loading])
            if loading.exception() is None:
                await self._device.run(loading.result().unload)
            raise

    def _warm_up(self, wish: LoadRequest, model: LoadedModel) -> Ready:
        """On the device thread. A warm-up that never returns is ended, like a batch."""
        self._progress.start(WARM_UP, clock.monotonic() + WARM_UP_LIMIT_S)
        try:
            return self._warmup.run(wish.manifest, model, wish.facts.rows)
        finally:
            self._progress.end()
