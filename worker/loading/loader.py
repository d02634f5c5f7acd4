"""The load of a model, from an order to an announced copy.

    claim the lease -> read the manifest -> [affinity] -> pipeline -> announce

Loads run beside serving. The lease is renewed meanwhile; a load that lost it is discarded. A load
that fails is charged to this worker, with the scope of its cause (`shared/causes.py`): others are
asked before the error answers everything that is parked for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from shared import causes, failpoints, statuses
from shared.errors import Conflict, InsufficientMemory, LoadFailed, WarmrouteError
from shared.event_log import EventLog
from shared.manifest import Manifest
from shared.names import ModelRef
from shared.retry import until_answered
from shared.tasks import BackgroundTasks
from worker.loading.load_lease import LOAD_LEASE_MS, LoadLease
from worker.loading.load_limiter import LoadLimiter
from worker.loading.load_pipeline import LoadPipeline
from worker.loading.load_request import CallsTooLarge, LoadRequest, report
from worker.loading.manifest_reader import ManifestReader
from worker.loading.model_files import NoMemoryNow
from worker.residency.context import WorkerContext
from worker.residency.evictor import Evictor
from worker.residency.memory_manager import MemoryManager
from worker.residency.model_stats import ModelStats, ModelStatsReader

log = logging.getLogger(__name__)

PAUSE_S = 0.1
# A little more than HEAD_START_MS, which the chosen worker has (contract test).
HEAD_START_S = 0.3


class HandedOn(Exception):
    """The order went to the worker that holds the models of the same affinity key."""


class Loader:
    """Carries out load orders, a few at a time."""

    def __init__(
        self, context: WorkerContext, evictor: Evictor, memory: MemoryManager,
        pipeline: LoadPipeline, stats: ModelStatsReader, manifests: ManifestReader,
        events: EventLog, limiter: LoadLimiter, unloadable_s: float,
    ) -> None:  # fmt: skip
        self._scripts = context.scripts
        self._membership = context.membership
        self._copies = context.copies
        self._device = context.device
        self._health = context.health
        self._evictor = evictor
        self._memory = memory
        self._pipeline = pipeline
        self._stats = stats
        self._manifests = manifests
        self._events = events
        self._limiter = limiter
        self._unloadable_ms = round(unloadable_s * 1000)
        self.tasks = BackgroundTasks[None]()  # the loads under way
        self._later = BackgroundTasks[None]()  # they take no slot: mostly the other worker loads
        self._refusals = BackgroundTasks[None]()
        self.loads = 0

    def may_take_order(self) -> bool:
        """Whether a further load could start now: a slot is free, memory can be freed, and the
        last loads did not fail through this worker's own fault."""
        ready = self._membership.state == "ready"
        busy = len(self.tasks) - self._limiter.without_slot()
        may_load = ready and self._health.gate.is_open(len(self.tasks))
        return may_load and busy < self._limiter.slots and self._memory.has_capacity()

    async def accept(self, ref: str, token: str) -> str:
        """Answer an order within milliseconds; the load runs in the background. Returns the answer
        of the script `claim_load`."""
        if self._membership.state != "ready":  # the order was under way when draining began
            return await self._scripts.refuse_load(self._membership.worker, ref, token)
        claim = await self._claim(ref, token)
        lease = self._lease(ref, token)
        match claim:
            case statuses.LATER:
                self._later.start(self._after_head_start(lease))
            case statuses.REFUSED:
                self._refusals.start(lease.refuse())
            case statuses.CLAIMED | statuses.SUSPECT:
                self.tasks.start(self._run(lease, suspect=claim == statuses.SUSPECT))
        return claim

    async def _claim(self, ref: str, token: str) -> str:
        member = self._membership
        return await self._scripts.claim_load(
            member.worker, member.epoch, ref, token, LOAD_LEASE_MS
        )

    async def _after_head_start(self, lease: LoadLease) -> None:
        """Take the order if the worker that can have the model sooner has not taken it by now."""
        await asyncio.sleep(HEAD_START_S)
        await self._until_free_slot()
        match await until_answered(lambda: self._claim(lease.ref, lease.token)):
            case statuses.REFUSED:
                await lease.refuse()
            case statuses.CLAIMED | statuses.SUSPECT as claim:
                self.tasks.start(self._run(lease, suspect=claim == statuses.SUSPECT))

    async def _until_free_slot(self) -> None:
        while len(self.tasks) >= self._limiter.slots:
            await asyncio.wait(set(self.tasks), return_when=asyncio.FIRST_COMPLETED)

    async def reload(self, refs: Sequence[str]) -> None:
        """Load what this worker held before, hottest first, one after the other, into free memory
        only. Orders come first: each of these loads waits for a free slot, and a moment longer."""
        for ref in refs:
            await asyncio.sleep(PAUSE_S)
            await self._until_free_slot()
            if self._membership.state != "ready":
                return
            await asyncio.wait([self.tasks.start(self._reload(ref))])

    async def _reload(self, ref: str) -> None:
        try:
            manifest, stats = await self._look_up(ref)
        except WarmrouteError as error:
            log.warning("%s is not loaded again: %s", ref, error.message)
            return
        footprint = self._pipeline.footprint(manifest, stats)
        if self._copies.get(ref) or not self._memory.fits(footprint):
            return
        member = self._membership
        token = await until_answered(
            lambda: self._scripts.reload(member.worker, member.epoch, ref, LOAD_LEASE_MS)
        )
        if token:
            await self._run(self._lease(ref, token), evict=False)

    def _lease(self, ref: str, token: str) -> LoadLease:
        return LoadLease(
            self._scripts, self._membership.worker, ref, token, self._unloadable_ms,
            self._device.device_class,
        )  # fmt: skip

    async def stop(self) -> None:
        """Give up running loads; their leases expire and other workers load. What is refused is
        offered to them first."""
        for task in (*self.tasks, *self._later):
            task.cancel()
        await asyncio.gather(*self.tasks, *self._later, *self._refusals, return_exceptions=True)

    async def _run(self, lease: LoadLease, *, suspect: bool = False, evict: bool = True) -> None:
        try:
            async with lease.renewed():
                try:
                    await self.load(lease, suspect=suspect, evict=evict)
                except CallsTooLarge as error:
                    if await lease.offer(error.message):
                        return
                    await self.load(lease, suspect=suspect, evict=evict, last=True)
            self._health.load_succeeded()
        except HandedOn:
            log.info("%s is handed on to the worker that holds its affinity group", lease.ref)
        except NoMemoryNow as error:
            self._events.emit("refused", lease.ref, reason=str(error))
            await lease.refuse(why=str(error))
        except InsufficientMemory as error:
            self._events.emit("refused", lease.ref, reason=error.message)
            # A model that does not fit into free memory may be loaded by an order, which evicts.
            await (lease.refuse(error) if evict else lease.release())
        except WarmrouteError as error:
            self._events.emit("load_failed", lease.ref, reason=error.message)
            self._health.load_failed(lease.ref, error)
            await lease.fail(error)
        except Exception:
            log.exception("this is a bug: the load of %s raised", lease.ref)
            failed = LoadFailed("internal error, see the worker's log")
            self._health.load_failed(lease.ref, failed, bug=True)
            await lease.fail(failed, causes.WORKER)

    async def load(
        self, lease: LoadLease, *, suspect: bool = False, evict: bool = True, last: bool = False
    ) -> None:
        """Load one model and announce it. NoMemoryNow or InsufficientMemory if it does not fit
        (without `evict`: into free memory), CallsTooLarge if only another worker may fit
        its calls (not with `last`); else an error of the tree that says why it failed."""
        # Until it is announced: a copy that is refused then is freed, not given to another load.
        async with self._limiter.exclusive(lease.ref):
            await self._evictor.until_freed(lease.ref)
            try:
                learned = await self._ensure_copy(lease, suspect, evict, last)
                await self._announce(lease, learned)
            finally:
                self._copies.announced(lease.ref)

    async def _ensure_copy(
        self, lease: LoadLease, suspect: bool, evict: bool, last: bool
    ) -> dict[str, object]:
        """Load the model unless it is here; the statistics that this adds. A copy that Redis has
        forgotten only needs to be announced."""
        if self._copies.get(lease.ref) is not None:
            return {}
        manifest, stats = await self._look_up(lease.ref)
        await failpoints.reach("load.manifest")
        await self._hand_on(lease, stats)
        request = LoadRequest(lease.ref, manifest, stats, suspect, evict, lease.report_wait, last)
        footprint = self._pipeline.footprint(manifest, stats)
        await self._limiter.debounce(evict and self._memory.is_contended(footprint))
        async with self._limiter.slot():
            result = await self._pipeline.run(request)
        self.loads += 1
        report(self._events, result, stats)
        return result.learned(self._device.device_class)

    async def _look_up(self, ref: str) -> tuple[Manifest, ModelStats]:
        manifest = await self._manifests.read(ModelRef.parse(ref))
        (stats,) = await until_answered(lambda: self._stats.read([(ref, manifest)]))
        return manifest, stats

    async def _hand_on(self, lease: LoadLease, stats: ModelStats) -> None:
        """HandedOn if another worker holds more of the affinity group; InsufficientMemory if only
        that worker may load the model, and cannot."""
        affinity = stats.policy.affinity
        if affinity is None:
            return
        worker, most = self._membership.worker, affinity.max_models_per_worker
        where = await until_answered(
            lambda: self._scripts.route_by_affinity(
                worker, lease.ref, lease.token, affinity.key, affinity.mode, most
            )
        )
        if where == statuses.NOWHERE:
            raise InsufficientMemory(
                f"affinity: the worker that has the models of {affinity.key!r} cannot take it"
            )
        if where != statuses.HERE:
            raise HandedOn

    async def _announce(self, lease: LoadLease, learned: dict[str, object]) -> None:
        """Announce the copy. This may be repeated, so it is repeated until Redis answers."""
        try:
            await until_answered(lambda: self._membership.announce(lease.ref, lease.token, learned))
        except Conflict:
            self._copies.announced(lease.ref)  # nor will it be
            # The end of the lease cancels the load; an eviction once started must end.
            reason = "its load was given to another worker"
            await asyncio.shield(self._evictor.evict(lease.ref, reason))
            raise
