"""From a manifest to a warm copy on the device, which is not announced yet.

    reserve memory -> fetch what is not on this host -> load -> warm up -> measure -> open its queue

All of it runs beside serving. A failure leaves no bytes reserved and nothing half loaded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from itertools import islice
from pathlib import Path

from shared import clock, failpoints
from shared.errors import BlobMissing, InsufficientMemory
from shared.footprint import Footprint, expected
from shared.manifest import FileEntry, Manifest
from shared.repository import Repository
from worker.device.base import DeviceOutOfMemory
from worker.device.out_of_memory import drop_frames
from worker.loading.load_request import CallsTooLarge, LoadRequest, LoadResult
from worker.loading.model_files import ModelFiles, NoMemoryNow
from worker.loading.warm_calls import WarmCalls
from worker.loading.warmup import Ready
from worker.residency.call_peaks import most_of_peak
from worker.residency.context import WorkerContext
from worker.residency.copies import Copy
from worker.residency.gauge import LoadGauge
from worker.residency.host_tier import HostTier
from worker.residency.memory_manager import MemoryManager
from worker.residency.model_stats import ModelStats
from worker.residency.outcome import Stays
from worker.residency.projection import LoadCandidate
from worker.runtimes.base import LoadedModel
from worker.trial.inputs import tried_names
from worker.weight_cache.cache import BlobCache

MOST_KNOWN = 1000  # models that were measured to be too large
LoadFunction = Callable[[Manifest, Mapping[str, Path]], LoadedModel]
Alone = Callable[[], AbstractAsyncContextManager[None]]


class LoadPipeline:
    """Loads copies. No batch runs during a block of `alone()`."""

    def __init__(
        self, context: WorkerContext, memory: MemoryManager, host: HostTier,
        repository: Repository, cache: BlobCache, load: LoadFunction, alone: Alone,
    ) -> None:  # fmt: skip
        self._copies = context.copies
        self._batcher = context.batcher
        self._device = context.device
        self._thread = context.thread
        self._ledger = context.ledger
        self._peaks = context.peaks
        self._policy = context.policy
        self._memory = memory
        self._files = ModelFiles(context, memory, host, repository, cache)
        self._load = load
        self._alone = alone
        self.warm_calls = WarmCalls(context)
        self._gauge = LoadGauge(context.thread, context.gauge)
        self._too_large_here: set[str] = set()  # measured by this process

    def footprint(self, manifest: Manifest, stats: ModelStats) -> Footprint:
        """What the copy will take: as learned, else as the manifest says."""
        return expected(manifest, stats.own_bytes, stats.policy.fraction, self._ledger.whole)

    def _planned(self, request: LoadRequest) -> tuple[Footprint, Footprint]:
        """The footprint to plan with, and the one to have free if that can be. CallsTooLarge if it
        is known only from other workers that it does not fit here: they may have more threads, or
        calls have made their copy grow. They are asked first; if none is left, as much of it counts
        as fits, and the copy is measured."""
        manifest, whole = request.manifest, self._ledger.whole
        learned = self.footprint(manifest, request.stats)
        bare = expected(manifest, None, request.stats.policy.fraction, whole)
        fits_perhaps = bare.total <= whole and request.ref not in self._too_large_here
        if learned.total <= whole or not fits_perhaps:
            return learned, self._with_calls(request, learned)
        if not request.last:
            raise CallsTooLarge(self._too_large(request, learned, "as other workers say").message)
        return bare, bare.plus(most_of_peak(self._ledger.budget, bare.total))

    async def run(self, request: LoadRequest) -> LoadResult:
        """The copy, open for requests. InsufficientMemory says why it cannot fit, NoMemoryNow why
        it does not fit now."""
        self._peaks.recall(request.ref, request.stats.peak)
        await self._reserve(request, *self._planned(request))
        started = clock.monotonic()  # waiting for memory does not count as load time
        try:
            tier, model, ready, mapped = await self._fetch_and_load(request)
        except BaseException:
            self._ledger.release(request.ref)
            raise
        load_s = clock.monotonic() - started
        copy = await self._settle(request, model, mapped)
        copy.load_s = load_s
        copy.unproved = request.manifest.batching.max_size > 1 and ready.unproved
        copy.announcing = True
        self._policy.loaded(request.ref, copy.load_s, copy.footprint.total, clock.monotonic())
        self._copies.add(copy)
        self._batcher.open(request.ref, ready.batching, tried_names(request.manifest))
        await failpoints.reach("load.warmed")
        return LoadResult(copy, tier, ready)

    def _candidate(self, request: LoadRequest, footprint: Footprint) -> LoadCandidate:
        policy = request.stats.policy
        group, most = "", 0
        if policy.affinity is not None:
            group, most = policy.affinity.key, policy.affinity.max_models_per_worker
        return LoadCandidate(
            request.ref, footprint, policy.priority, group, most, request.stats.trial
        )

    def _with_calls(self, request: LoadRequest, footprint: Footprint) -> Footprint:
        """With as much of what its calls are known to take as fits here at all."""
        free = most_of_peak(self._ledger.budget, footprint.total)
        return footprint.plus(min(self._peaks.excess(request.ref), free))

    async def _reserve(
        self, request: LoadRequest, footprint: Footprint, largest: Footprint
    ) -> None:
        excess, budget = self._peaks.excess(request.ref), self._ledger.whole
        if not request.last and footprint.total <= budget < footprint.total + excess:
            raise CallsTooLarge(
                self._too_large(request, footprint, f"its calls take {excess} bytes more").message
            )
        wished = self._candidate(request, largest)
        if not request.evict:
            if not await self._memory.try_reserve(wished):
                raise self._too_large(request, wished.footprint, "so much is not free")
            return
        outcome = await self._memory.reserve(wished, request.report_wait)
        if isinstance(outcome, Stays) and wished.footprint != footprint:
            bare = self._candidate(request, footprint)
            outcome = await self._memory.reserve(bare, request.report_wait)
        if isinstance(outcome, Stays):
            if outcome.never:
                raise self._too_large(request, footprint, outcome.why)
            raise NoMemoryNow(outcome.why)

    async def _settle(
        self, request: LoadRequest, model: LoadedModel, mapped: list[FileEntry]
    ) -> Copy:
        """Replace the reservation by what was measured."""
        stats = request.stats
        least = int(stats.policy.fraction * self._ledger.whole)
        shared = frozenset(model.shared.items())
        measured = Footprint(shared, model.bytes_resident).at_least(least)
        fitting, fits = self._with_calls(request, measured), False
        try:
            fits = await self._memory.correct(self._candidate(request, fitting), request.evict)
            if not fits and fitting != measured:
                fitting, bare = measured, self._candidate(request, measured)
                fits = await self._memory.correct(bare, request.evict)
        finally:
            if not fits:
                await asyncio.shield(self._thread.run(model.unload))
                self._files.unpin(mapped)
        if not fits:
            error = self._too_large(request, measured, "as measured once it was loaded")
            if error.too_large:
                self._too_large_here = {request.ref, *islice(self._too_large_here, MOST_KNOWN)}
            raise error
        return Copy(
            request.ref, request.manifest, model, fitting, stats.policy,
            surplus=stats.holders > 0, in_session=stats.in_session, mapped=mapped,
            peak=self._peaks.excess(request.ref), excess=fitting.own - measured.own,
            last=request.last,
        )  # fmt: skip

    def _too_large(
        self, request: LoadRequest, footprint: Footprint, why: str
    ) -> InsufficientMemory:
        manifest = request.manifest
        error = InsufficientMemory(
            f"model {manifest.name} version {manifest.version} needs {footprint.total} bytes, this "
            f"worker's budget is {self._ledger.budget}: {why}"
        )
        error.too_large = footprint.total > self._ledger.whole
        return error

    # From the repository to the device -------------------------------------------------------

    async def _fetch_and_load(
        self, request: LoadRequest
    ) -> tuple[str, LoadedModel, Ready, list[FileEntry]]:
        """Fetch what no nearer tier has, and load; with the files that the model maps, pinned."""
        fetched = self._files.on_disk(request.ref, request.manifest, evict=request.evict)
        async with fetched as (tier, files):
            await failpoints.reach("load.mid")
            model, ready = await self._load_to_device(request, files)
            return tier, model, ready, self._files.pin(request.manifest)

    async def _load_to_device(
        self, request: LoadRequest, files: Mapping[str, Path]
    ) -> tuple[LoadedModel, Ready]:
        """Load; if the device proves fuller than the ledger says, evict one copy and try again."""
        try:
            return await self._try_to_load(request, files)
        except DeviceOutOfMemory as error:
            drop_frames(error)  # they hold what was loaded so far
        # Not within `alone`: the copy to be evicted may have requests to answer.
        await asyncio.to_thread(self._device.relieve)
        await self._memory.evict_one()
        try:
            return await self._try_to_load(request, files)
        except DeviceOutOfMemory as error:
            raise InsufficientMemory(
                f"model {request.manifest.name} version {request.manifest.version}: "
                f"{error.message}, although its bytes fit the budget"
            ) from error

    async def _try_to_load(
        self, request: LoadRequest, files: Mapping[str, Path]
    ) -> tuple[LoadedModel, Ready]:
        alone, manifest = self._alone() if request.suspect else nullcontext(), request.manifest
        async with alone, self._gauge.load(manifest) as span:
            model = await self._in_thread(manifest, files)
            try:
                ready = await self.warm_calls.warm_up(
                    request.ref, manifest, model, request.stats.finding
                )
                await self._gauge.correct(manifest, model, span, request.stats.own_bytes)
            except BaseException:
                await self._thread.run(model.unload)
                raise
            return model, ready

    async def _in_thread(self, manifest: Manifest, files: Mapping[str, Path]) -> LoadedModel:
        """Run the loader on a thread, which cannot be stopped: a load that is cancelled returns
        when it ends, and until then its bytes and files are in use."""
        loading = asyncio.create_task(asyncio.to_thread(self._load, manifest, files))
        try:
            return await asyncio.shield(loading)
        except asyncio.CancelledError:
            await asyncio.wait([loading])
            if loading.exception() is None:
                await self._thread.run(loading.result().unload)
            raise
        except Exception as error:
            if not all(path.exists() for path in files.values()):
                gone = "its files vanished from this worker's disk while it was loaded"
                raise BlobMissing(
                    f"model {manifest.name} version {manifest.version}: {gone}"
                ) from error
            await self._thread.test_after(error)
            raise
