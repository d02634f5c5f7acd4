"""The journey of a load: from an invitation on the cold queue to an announced copy.

    claim the lease -> read the manifest -> make room -> fetch -> load -> warm up -> announce

Loads run beside serving. The lease is renewed meanwhile; a load that lost it is thrown away. A load
that fails answers everything parked for it with the cause and is not tried again for a while. A
model that has crashed a worker is loaded while nothing else runs, so that blame is certain.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path

from shared import clock, failpoints
from shared.errors import Conflict, InsufficientMemory, LoadFailed, WarmrouteError
from shared.manifest import Batching, Manifest
from shared.names import ModelRef
from shared.repository import BlobCache, Repository
from shared.retry import until_answered
from worker.copies import Copy
from worker.evictor import Evictor
from worker.ledger import Footprint, predict
from worker.load_lease import LOAD_LEASE_MS, LoadLease
from worker.manifest_reader import ManifestReader
from worker.parts import Parts
from worker.runtimes.base import LoadedModel
from worker.sticky_errors import watched
from worker.warmup import Warmup

log = logging.getLogger(__name__)

PAUSE_S = 0.1
WARM_UP = 1 << 62  # as the number of a batch: no batch has it, so no request is charged
WARM_UP_LIMIT_S = 120.0

LoadFunction = Callable[[Manifest, Mapping[str, Path]], LoadedModel]
Alone = Callable[[], AbstractAsyncContextManager[None]]


class Loader:
    """Carries out load orders, a few at a time. `alone()` is held while no batch runs."""

    def __init__(
        self, parts: Parts, evictor: Evictor, repository: Repository, cache: BlobCache,
        load: LoadFunction, concurrency: int, unloadable_s: float, alone: Alone,
    ) -> None:  # fmt: skip
        self._scripts = parts.scripts
        self._membership = parts.membership
        self._copies = parts.copies
        self._batcher = parts.batcher
        self._device = parts.thread
        self._ledger = parts.ledger
        self._progress = parts.progress
        self._evictor = evictor
        self._repository = repository
        self._cache = cache
        self._load = load
        self._alone = alone
        self._warmup = Warmup()
        self._manifests = ManifestReader(repository, cache.manifests)
        self._slots = concurrency
        self._unloadable_ms = round(unloadable_s * 1000)
        self._tasks: set[asyncio.Task[None]] = set()
        self.loads = 0

    def may_take_order(self) -> bool:
        """Whether a further load could start now: a slot is free and room can be made."""
        ready = self._membership.state == "ready"
        return ready and len(self._tasks) < self._slots and self._evictor.could_make_room()

    async def accept(self, ref: str, token: str) -> str:
        """Answer an invitation within milliseconds; the load itself runs on. Returns the claim."""
        if self._membership.state != "ready":  # it was on its way to us when the gate was shut
            return await self._scripts.refuse_load(self._membership.worker, ref, token)
        claim = await self._scripts.claim_load(
            self._membership.worker, self._membership.epoch, ref, token, LOAD_LEASE_MS
        )
        lease = self._lease(ref, token)
        if claim == "refused":
            await asyncio.sleep(PAUSE_S)  # nobody else may take orders just now: do not spin
            await lease.refuse()
        if claim in ("claimed", "suspect"):
            self._start(self._run(lease, suspect=claim == "suspect"))
        return claim

    async def reload(self, refs: Sequence[str]) -> None:
        """Bring back what this worker held before, hottest first, one after the other, as far as
        there is free room: nothing is evicted for it. Orders come first: it waits for a free
        slot, and a moment before each load."""
        for ref in refs:
            await asyncio.sleep(PAUSE_S)
            while len(self._tasks) >= self._slots:
                await asyncio.wait(set(self._tasks), return_when=asyncio.FIRST_COMPLETED)
            if self._membership.state != "ready":
                return
            await asyncio.wait([self._start(self._reload(ref))])

    async def _reload(self, ref: str) -> None:
        try:
            manifest = await self._manifests.read(ModelRef.parse(ref))
        except WarmrouteError as error:
            log.warning("%s is not loaded again: %s", ref, error.message)
            return
        if self._copies.get(ref) or not self._evictor.has_room(predict(manifest)):
            return
        member = self._membership
        token = await until_answered(
            lambda: self._scripts.reload(member.worker, member.epoch, ref, LOAD_LEASE_MS)
        )
        if token:
            await self._run(self._lease(ref, token), evict=False)

    def _start(self, load: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(load)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _lease(self, ref: str, token: str) -> LoadLease:
        return LoadLease(self._scripts, self._membership.worker, ref, token, self._unloadable_ms)

    async def stop(self) -> None:
        """Give up running loads; their leases run out and others load."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, lease: LoadLease, *, suspect: bool = False, evict: bool = True) -> None:
        try:
            async with lease.kept():
                ref = ModelRef.parse(lease.ref)
                await self.load(ref, lease.token, suspect=suspect, evict=evict)
        except InsufficientMemory as error:
            # A model that finds no free room now may well be loaded by an order, which evicts.
            await (lease.refuse(error) if evict else lease.give_back())
        except WarmrouteError as error:
            await lease.fail(error)
        except Exception:
            log.exception("this is a bug: the load of %s raised", lease.ref)
            await lease.fail(LoadFailed("internal error, see the worker's log"))

    async def load(
        self, ref: ModelRef, token: str, *, suspect: bool = False, evict: bool = True
    ) -> None:
        """Load one model and announce it. Raises why not; InsufficientMemory: there is no room
        (without `evict`: none is free)."""
        begun = time.perf_counter()
        await self._evictor.until_freed(str(ref))
        if self._copies.get(str(ref)) is None:
            await self._bring_up(ref, suspect, evict)
            self.loads += 1
        # Else the copy is here and Redis had forgotten that: announcing it is all there is to do.
        await self._announce(str(ref), token)
        log.info("loaded %s in %.0f ms", ref, (time.perf_counter() - begun) * 1000)

    async def _announce(self, ref: str, token: str) -> None:
        """Announcing may be repeated, so a Redis that does not answer is asked again."""
        try:
            await until_answered(lambda: self._membership.announce(ref, token))
        except Conflict:
            # The end of the lease cancels the load; an eviction once begun must end.
            await asyncio.shield(self._evictor.evict(ref))
            raise

    async def _bring_up(self, ref: ModelRef, suspect: bool, evict: bool) -> None:
        """From the repository to a warm copy with an open queue, which nobody knows of yet."""
        manifest = await self._manifests.read(ref)
        await failpoints.reach("load.manifest")
        footprint = predict(manifest)
        take = self._evictor.make_room if evict else self._evictor.take_free_room
        if not await take(str(ref), footprint):
            raise self._too_large(ref, footprint)
        try:
            model, limits = await self._bring_in(manifest, suspect)
        except BaseException:
            self._ledger.release(str(ref))
            raise
        measured = Footprint(frozenset(model.shared.items()), model.bytes_resident)
        if not await self._evictor.correct(str(ref), measured, evict=evict):
            await self._device.run(model.unload)
            raise self._too_large(ref, measured)
        self._copies.add(Copy(str(ref), manifest, model, measured))
        self._batcher.open(str(ref), limits)
        await failpoints.reach("load.warmed")

    def _too_large(self, ref: ModelRef, footprint: Footprint) -> InsufficientMemory:
        return InsufficientMemory(
            f"model {ref.name} version {ref.version} needs {footprint.total} bytes, this worker's "
            f"budget is {self._ledger.budget}"
        )

    async def _bring_in(self, manifest: Manifest, suspect: bool) -> tuple[LoadedModel, Batching]:
        files = await self._cache.ensure(self._repository, manifest.files)
        try:
            await failpoints.reach("load.mid")
            async with self._alone() if suspect else nullcontext():
                return await self._bring_to_device(manifest, files)
        finally:
            self._cache.release(manifest.files)

    async def _bring_to_device(
        self, manifest: Manifest, files: Mapping[str, Path]
    ) -> tuple[LoadedModel, Batching]:
        model = await self._in_thread(manifest, files)
        try:
            limits = await self._device.run(lambda: self._warm_up(manifest, model))
        except BaseException:
            await self._device.run(model.unload)
            raise
        return model, limits

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

    def _warm_up(self, manifest: Manifest, model: LoadedModel) -> Batching:
        """On the device thread. A warm-up that never returns is ended, like a batch."""
        self._progress.start(WARM_UP, clock.monotonic() + WARM_UP_LIMIT_S)
        try:
            return self._warmup.run(manifest, model)
        finally:
            self._progress.end()
