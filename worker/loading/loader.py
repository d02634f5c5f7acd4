"""The journey of a load: from an order to an announced copy.

    claim the lease -> read the manifest -> [affinity] -> bring it up -> announce

Loads run beside serving. The lease is renewed meanwhile; a load that lost it is thrown away. A load
that fails answers everything parked for it with the cause and is not tried again for a while.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence

from shared import failpoints
from shared.errors import Conflict, InsufficientMemory, LoadFailed, WarmrouteError
from shared.event_log import EventLog
from shared.manifest import Manifest
from shared.names import ModelRef
from shared.retry import until_answered
from worker.loading.load_lease import LOAD_LEASE_MS, LoadLease
from worker.loading.load_limiter import LoadLimiter
from worker.loading.load_pipeline import LoadPipeline, LoadRequest, LoadResult, NoRoomNow
from worker.loading.manifest_reader import ManifestReader
from worker.residency.context import WorkerContext
from worker.residency.evictor import Evictor
from worker.residency.memory_manager import MemoryManager
from worker.residency.model_stats import ModelStats, ModelStatsReader

log = logging.getLogger(__name__)

PAUSE_S = 0.1
HEAD_START_S = 0.3  # a little more than another worker has by `claim_load`


class HandedOn(Exception):
    """The order went to the worker that has the models of the same affinity key."""


class Loader:
    """Carries out load orders, a few at a time."""

    def __init__(
        self, parts: WorkerContext, evictor: Evictor, room: MemoryManager, pipeline: LoadPipeline,
        facts: ModelStatsReader, manifests: ManifestReader, events: EventLog, turns: LoadLimiter,
        unloadable_s: float,
    ) -> None:  # fmt: skip
        self._scripts = parts.scripts
        self._membership = parts.membership
        self._copies = parts.copies
        self._device = parts.device
        self._evictor = evictor
        self._room = room
        self._pipeline = pipeline
        self._facts = facts
        self._manifests = manifests
        self._events = events
        self._turns = turns
        self._unloadable_ms = round(unloadable_s * 1000)
        self._tasks: set[asyncio.Task[None]] = set()
        self._later: set[asyncio.Task[None]] = set()
        self.loads = 0

    def may_take_order(self) -> bool:
        """Whether a further load could start now: a slot is free and room can be made."""
        ready = self._membership.state == "ready"
        busy = len(self._tasks) - self._turns.without_slot()
        return ready and busy < self._turns.slots and self._room.could_be_made()

    async def accept(self, ref: str, token: str) -> str:
        """Answer an order within milliseconds; the load itself runs on. Returns the claim."""
        if self._membership.state != "ready":  # it was on its way to us when the gate was shut
            return await self._scripts.refuse_load(self._membership.worker, ref, token)
        claim = await self._claim(ref, token)
        lease = self._lease(ref, token)
        if claim == "later":
            later = asyncio.create_task(self._after_head_start(lease))
            self._later.add(later)  # it takes no slot: mostly the other worker loads
            later.add_done_callback(self._later.discard)
        if claim == "refused":
            await asyncio.sleep(PAUSE_S)  # nobody else may take orders just now: do not spin
            await lease.refuse()
        if claim in ("claimed", "suspect"):
            self._start(self._run(lease, suspect=claim == "suspect"))
        return claim

    async def _claim(self, ref: str, token: str) -> str:
        member = self._membership
        return await self._scripts.claim_load(
            member.worker, member.epoch, ref, token, LOAD_LEASE_MS
        )

    async def _after_head_start(self, lease: LoadLease) -> None:
        """Another worker can have the model sooner, but if it has not taken it by now we do."""
        await asyncio.sleep(HEAD_START_S)
        await self._free_slot()
        claim = await until_answered(lambda: self._claim(lease.ref, lease.token))
        if claim == "refused":
            await lease.refuse()
        if claim in ("claimed", "suspect"):
            self._start(self._run(lease, suspect=claim == "suspect"))

    async def _free_slot(self) -> None:
        while len(self._tasks) >= self._turns.slots:
            await asyncio.wait(set(self._tasks), return_when=asyncio.FIRST_COMPLETED)

    async def reload(self, refs: Sequence[str]) -> None:
        """Bring back what this worker held before, hottest first, one after the other, as far as
        there is free room: nothing is evicted for it. Orders come first: it waits for a free
        slot, and a moment before each load."""
        for ref in refs:
            await asyncio.sleep(PAUSE_S)
            await self._free_slot()
            if self._membership.state != "ready":
                return
            await asyncio.wait([self._start(self._reload(ref))])

    async def _reload(self, ref: str) -> None:
        try:
            manifest, facts = await self._look_up(ref)
        except WarmrouteError as error:
            log.warning("%s is not loaded again: %s", ref, error.message)
            return
        footprint = self._pipeline.footprint(manifest, facts)
        if self._copies.get(ref) or not self._room.is_free(footprint):
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
        return LoadLease(
            self._scripts, self._membership.worker, ref, token, self._unloadable_ms,
            self._device.device_class,
        )  # fmt: skip

    async def stop(self) -> None:
        """Give up running loads; their leases run out and others load."""
        for task in (*self._tasks, *self._later):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._later, return_exceptions=True)

    async def _run(self, lease: LoadLease, *, suspect: bool = False, evict: bool = True) -> None:
        try:
            async with lease.kept():
                await self.load(lease, suspect=suspect, evict=evict)
        except HandedOn:
            log.info("%s goes to the worker that has its kin", lease.ref)
        except NoRoomNow as error:
            self._events.emit("refused", lease.ref, reason=str(error))
            await lease.refuse(why=str(error))
        except InsufficientMemory as error:
            self._events.emit("refused", lease.ref, reason=error.message)
            # A model that finds no free room now may well be loaded by an order, which evicts.
            await (lease.refuse(error) if evict else lease.give_back())
        except WarmrouteError as error:
            self._events.emit("load_failed", lease.ref, reason=error.message)
            await lease.fail(error)
        except Exception:
            log.exception("this is a bug: the load of %s raised", lease.ref)
            await lease.fail(LoadFailed("internal error, see the worker's log"))

    async def load(self, lease: LoadLease, *, suspect: bool = False, evict: bool = True) -> None:
        """Load one model and announce it. Raises why not; InsufficientMemory: there is no room
        (without `evict`: none is free)."""
        await self._evictor.until_freed(lease.ref)
        try:
            async with self._turns.by_itself(lease.ref):
                learned = await self._have(lease, suspect, evict)
            await self._announce(lease, learned)
        finally:
            self._copies.announced(lease.ref)

    async def _have(self, lease: LoadLease, suspect: bool, evict: bool) -> dict[str, object]:
        """Bring the model up; what that has taught. If the copy is here and Redis had forgotten
        it, announcing it is all there is to do."""
        learned: dict[str, object] = {}
        if self._copies.get(lease.ref) is None:
            manifest, facts = await self._look_up(lease.ref)
            await failpoints.reach("load.manifest")
            await self._hand_on(lease, facts)
            wish = LoadRequest(lease.ref, manifest, facts, suspect, evict, lease.waits)
            footprint = self._pipeline.footprint(manifest, facts)
            await self._turns.hold(evict and self._room.is_contended(footprint))
            async with self._turns.slot():
                brought = await self._pipeline.run(wish)
            self.loads += 1
            self._tell(brought, facts)
            learned = brought.learned(self._device.device_class)
        return learned

    async def _look_up(self, ref: str) -> tuple[Manifest, ModelStats]:
        manifest = await self._manifests.read(ModelRef.parse(ref))
        (facts,) = await until_answered(lambda: self._facts.read([(ref, manifest)]))
        return manifest, facts

    async def _hand_on(self, lease: LoadLease, facts: ModelStats) -> None:
        """HandedOn if another worker has more of its kin; InsufficientMemory if only that one may
        load it, and cannot."""
        affinity = facts.policy.affinity
        if affinity is None:
            return
        where = await until_answered(
            lambda: self._scripts.route_by_affinity(
                self._membership.worker,
                lease.ref,
                lease.token,
                affinity.key,
                affinity.mode,
                affinity.max_models_per_worker,
            )
        )
        if where == "nowhere":
            raise InsufficientMemory(
                f"affinity: the worker that has the models of {affinity.key!r} cannot take it"
            )
        if where != "here":
            raise HandedOn

    def _tell(self, brought: LoadResult, facts: ModelStats) -> None:
        copy, tier, ready = brought
        self._events.emit(
            "promoted" if tier == "host" else "loaded", copy.ref, tier_from=tier, tier_to="device",
            bytes=copy.footprint.total, seconds=copy.load_s,
            warmed=False if ready.cold else None, reason=ready.cold and f"not warmed: {ready.cold}",
        )  # fmt: skip
        log.info("loaded %s from %s in %.0f ms", copy.ref, tier, copy.load_s * 1000)
        if ready.unbatched and ready.finding != facts.rows:
            self._events.emit("unbatched", copy.ref, reason=ready.unbatched)
            log.warning("%s is served unbatched: %s", copy.ref, ready.unbatched)

    async def _announce(self, lease: LoadLease, learned: dict[str, object]) -> None:
        """Announcing may be repeated, so a Redis that does not answer is asked again."""
        try:
            await until_answered(lambda: self._membership.announce(lease.ref, lease.token, learned))
        except Conflict:
            self._copies.announced(lease.ref)  # nor will it be
            # The end of the lease cancels the load; an eviction once begun must end.
            await asyncio.shield(self._evictor.evict(lease.ref, "its load was given to another"))
            raise
