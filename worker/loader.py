"""The journey of a load: from an invitation on the cold queue to an announced copy.

    claim the lease -> read the manifest -> make room -> fetch -> load -> warm up -> announce

Loads run beside serving. The lease is renewed meanwhile; a load that lost it is thrown away. A load
that fails answers everything parked for it with the cause and is not tried again for a while.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from shared import manifest as manifests
from shared.envelope import pack_error
from shared.errors import (
    ChangedMeanwhile,
    Conflict,
    InsufficientMemory,
    LoadFailed,
    Unavailable,
    WarmrouteError,
)
from shared.manifest import Batching, Manifest
from shared.names import ModelRef
from shared.repository import BlobCache, Repository
from worker.copies import Copy
from worker.evictor import Evictor
from worker.ledger import Footprint, predict
from worker.parts import Parts
from worker.runtimes.base import LoadedModel
from worker.warmup import Warmup

log = logging.getLogger(__name__)

LOAD_LEASE_MS = 10_000
RENEW_EVERY_S = 2.0
MANIFESTS_KEPT = 10_000
RETRY_S = 0.2
PAUSE_S = 0.1

LoadFunction = Callable[[Manifest, Mapping[str, Path]], LoadedModel]


class Loader:
    """Carries out load orders, a few at a time."""

    def __init__(
        self, parts: Parts, evictor: Evictor, repository: Repository, cache: BlobCache,
        load: LoadFunction, concurrency: int, unloadable_s: float,
    ) -> None:  # fmt: skip
        self._scripts = parts.scripts
        self._membership = parts.membership
        self._copies = parts.copies
        self._batcher = parts.batcher
        self._device = parts.thread
        self._ledger = parts.ledger
        self._evictor = evictor
        self._repository = repository
        self._cache = cache
        self._load = load
        self._warmup = Warmup()
        self._manifests: dict[ModelRef, Manifest] = {}
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
        if claim == "refused":
            await asyncio.sleep(PAUSE_S)  # nobody else may take orders just now: do not spin
            await self._refuse(ref, token)
        if claim == "claimed":
            task = asyncio.create_task(self._run(ref, token))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return claim

    async def stop(self) -> None:
        """Give up running loads; their leases run out and others load."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, ref: str, token: str) -> None:
        try:
            async with self._lease(ref, token):
                await self.load(ModelRef.parse(ref), token)
        except asyncio.CancelledError:
            raise
        except InsufficientMemory as error:
            await self._refuse(ref, token, error)
        except WarmrouteError as error:
            await self._fail(ref, token, error)
        except Exception:
            log.exception("this is a bug: the load of %s raised", ref)
            await self._fail(ref, token, LoadFailed("internal error, see the worker's log"))

    async def load(self, ref: ModelRef, token: str) -> None:
        """Load one model and announce it. Raises why not."""
        begun = time.perf_counter()
        await self._evictor.until_freed(str(ref))
        if self._copies.get(str(ref)) is None:
            await self._bring_up(ref)
            self.loads += 1
        # Else the copy is here and Redis had forgotten that: announcing it is all there is to do.
        await self._announce(str(ref), token)
        log.info("loaded %s in %.0f ms", ref, (time.perf_counter() - begun) * 1000)

    async def _announce(self, ref: str, token: str) -> None:
        """Announcing may be repeated, so a Redis that does not answer is asked again."""
        while True:
            try:
                return await self._membership.announce(ref, token)
            except Unavailable:
                await asyncio.sleep(RETRY_S)
            except Conflict:
                await self._evictor.evict(ref)
                raise

    async def _bring_up(self, ref: ModelRef) -> None:
        """From the repository to a warm copy with an open queue, which nobody knows of yet."""
        manifest = await self._read_manifest(ref)
        footprint = predict(manifest)
        if not await self._evictor.make_room(str(ref), footprint):
            raise self._too_large(ref, footprint)
        try:
            model, limits = await self._bring_in(manifest)
        except BaseException:
            self._ledger.release(str(ref))
            raise
        measured = Footprint(frozenset(model.shared.items()), model.bytes_resident)
        if not await self._evictor.correct(str(ref), measured):
            await self._device.run(model.unload)
            raise self._too_large(ref, measured)
        self._copies.add(Copy(str(ref), manifest, model, measured))
        self._batcher.open(str(ref), limits)

    def _too_large(self, ref: ModelRef, footprint: Footprint) -> InsufficientMemory:
        return InsufficientMemory(
            f"model {ref.name} version {ref.version} needs {footprint.total} bytes, this worker's "
            f"budget is {self._ledger.budget}"
        )

    async def _read_manifest(self, ref: ModelRef) -> Manifest:
        """The manifest that the reference's digest stands for. What was read once is kept."""
        known = self._manifests.get(ref)
        if known is not None:
            return known
        raw = await asyncio.to_thread(self._repository.read_manifest, ref.name, ref.version)
        manifest = manifests.parse(raw, name=ref.name, version=ref.version)
        if manifests.digest_of(raw) != ref.digest:
            raise ChangedMeanwhile(f"model {ref.name} version {ref.version} was published again")
        if len(self._manifests) >= MANIFESTS_KEPT:
            self._manifests.clear()
        self._manifests[ref] = manifest
        return manifest

    async def _bring_in(self, manifest: Manifest) -> tuple[LoadedModel, Batching]:
        files = await self._cache.ensure(self._repository, manifest.files)
        try:
            model = await asyncio.to_thread(self._load, manifest, files)
        finally:
            self._cache.release(manifest.files)
        try:
            limits = await self._device.run(lambda: self._warmup.run(manifest, model))
        except BaseException:
            await self._device.run(model.unload)
            raise
        return model, limits

    # The lease --------------------------------------------------------------------------------

    @asynccontextmanager
    async def _lease(self, ref: str, token: str) -> AsyncIterator[None]:
        """Renew the load lease until the load ends; cancel the load if the lease is lost."""
        load = asyncio.current_task()
        assert load is not None

        async def renew() -> None:
            while True:
                await asyncio.sleep(RENEW_EVERY_S)
                with suppress(Unavailable):
                    worker = self._membership.worker
                    if not await self._scripts.renew_load(worker, ref, token, LOAD_LEASE_MS):
                        log.warning("the load lease of %s is lost", ref)
                        load.cancel()
                        return

        task = asyncio.create_task(renew())
        try:
            yield
        finally:
            task.cancel()

    async def _refuse(self, ref: str, token: str, error: InsufficientMemory | None = None) -> None:
        """Hand the order to the other workers; if none is left, nobody can hold the model."""
        answer = await self._scripts.refuse_load(self._membership.worker, ref, token)
        if answer == "nobody":
            cause = error or InsufficientMemory("no worker's memory budget can hold this model")
            await self._fail(ref, token, cause)

    async def _fail(self, ref: str, token: str, error: WarmrouteError) -> None:
        log.warning("load of %s failed: %s", ref, error.message)
        cause, left = pack_error(error), 1
        while left > 0:
            try:
                left = await self._scripts.fail_load(
                    self._membership.worker, ref, token, cause, self._unloadable_ms
                )
            except Unavailable:
                await asyncio.sleep(RETRY_S)
