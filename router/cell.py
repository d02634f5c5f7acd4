"""What a gateway builds for one cell, its Redis and its workers, and runs there.

A gateway of several cells has one of these for each; they share what `Shared` holds.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from router.catalog.catalog import Catalog
from router.catalog.cell_map import CellMap
from router.catalog.shares import Shares
from router.cell_links import CellLinks
from router.events.followers import Followers
from router.events.pages import EventPages
from router.fleet.copy_states import CopyStates
from router.fleet.fleet_health import FleetHealth
from router.fleet.fleet_pages import FleetPages
from router.fleet.footprints import Footprints
from router.fleet.health import Health
from router.fleet.left_models import LOOK_EVERY_S as LEFT_EVERY_S
from router.fleet.left_models import LeftModels
from router.fleet.load_status import LoadStatus
from router.fleet.model_control import ModelControl
from router.fleet.moved_models import LOOK_EVERY_S as MOVED_EVERY_S
from router.fleet.moved_models import MovedModels
from router.fleet.policies import Policies
from router.fleet.preload import FOLLOW_EVERY_S, Preload
from router.fleet.reader import ResidencyReader
from router.fleet.sessions import Sessions
from router.fleet.sweeper import BEAT_EVERY_S, CLOCK_EVERY_S, SWEEP_EVERY_S, Sweeper
from router.fleet.version_states import VersionStates
from router.requests.dead_letters import DeadLetters
from router.requests.dispatch import Dispatch
from router.requests.hand_over import FleetHandover, Handover
from router.requests.intake import Admission, Intake
from router.requests.key_lookup import KeyLookup
from router.requests.open_requests import OpenRequests
from router.requests.outcome_log import LOG_EVERY_S, SEND_EVERY_S, FailureLog, RecentOutcomes
from router.requests.records import Records
from router.requests.shared_memory import LOOK_EVERY_S, GatewaySharedMemory, HeldBytes
from router.requests.waiters import EXPIRE_EVERY_S, Waiters
from router.rest.context import GatewayContext
from router.rest.error_responses import STATUS
from router.stream.ingress import Ingress
from router.stream.outbox import Outbox
from router.v2.json_processes import JsonProcesses
from shared.config import RouterConfig
from shared.errors import Unavailable
from shared.event_log import EventLog
from shared.placed import Limits
from shared.service import Loop, Supervisor
from shared.shared_memory import open_shared_memory

log = logging.getLogger(__name__)

CANCEL_S = 2.0
LAST_EVENTS_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What the cells of one gateway have in common. `small`: the admission of all calls but those
    of models."""

    config: RouterConfig
    gateway: str
    cells: CellMap
    catalog: Catalog
    shares: Shares
    processes: JsonProcesses
    admission: Admission
    small: Admission
    held: HeldBytes


class Cell:
    """One cell of a gateway: `context` for its doors, loops once it is started."""

    def __init__(self, links: CellLinks, shared: Shared) -> None:
        config, keys, scripts = shared.config, links.keys, links.scripts
        self.name = links.name
        self._links, self._shared = links, shared
        self._log = EventLog(links.calls, keys)
        self._sweeper = Sweeper(
            scripts, shared.gateway, config.lease_s, config.max_attempts, self._log,
            config.kept_bytes,
        )  # fmt: skip
        self._waiters = Waiters(links.replies, keys, shared.gateway)
        self._shared_memory = GatewaySharedMemory(
            links.calls,
            keys,
            shared.gateway,
            open_shared_memory(config.shared_memory, links.name, links.url),
            config.shared_memory_bytes,
            shared.held,
        )
        self._events = EventPages(links.client, keys)
        self._followers = Followers(links.news, keys, self._events)
        self._recent = RecentOutcomes(scripts, config.remembered)
        self._failures = FailureLog(links.calls, keys, shared.gateway, self._recent, STATUS)
        self._limits = Limits(config.max_queue, config.max_parked, config.max_pending)
        self._dispatch = Dispatch(
            shared.gateway, keys, scripts, self._limits, self._waiters, self._shared_memory,
            self._failures.ended,
        )  # fmt: skip
        self.intake = Intake(
            config, shared.catalog, self._dispatch, self._failures, self._recent, shared.processes,
            shared.admission,
        )  # fmt: skip
        self._supervisor = Supervisor(self._make_loops())
        self.health = Health(
            links.calls, keys, self._supervisor, config.min_workers,
            lambda: self._sweeper.redis_is_full,
        )  # fmt: skip
        self.handover = Handover(
            shared.gateway, keys, links.calls, scripts, self._dispatch, self._waiters,
            self._shared_memory, self._supervisor, self._followers,
        )  # fmt: skip

    def context(self, health: FleetHealth, handover: FleetHandover | Handover) -> GatewayContext:
        """The services that HTTP endpoints call for this cell; `health` and `handover` are the
        gateway's."""
        shared, client, keys = self._shared, self._links.client, self._links.keys
        calls, scripts, config = self._links.calls, self._links.scripts, self._shared.config
        lists = self._links.lists
        states, footprints = CopyStates(client, keys), Footprints(lists, keys)
        return GatewayContext(
            cell=self.name,
            many=len(shared.cells.names) > 1,
            config=config,
            intake=self.intake,
            catalog=shared.catalog,
            versions=VersionStates(shared.catalog, self._links.loaded, states, self._events),
            records=Records(scripts, self._waiters, shared.gateway, LoadStatus(calls, keys)),
            open_requests=OpenRequests(client, keys),
            dead_letters=DeadLetters(client, keys, scripts, self._limits, config.timeout_s),
            keyed=KeyLookup(calls, keys),
            residency=ResidencyReader(lists, keys),
            fleet=FleetPages(lists, keys),
            states=states,
            control=ModelControl(scripts, states, footprints),
            policies=Policies(client, keys, scripts, self._log),
            sessions=Sessions(
                client, keys, scripts, states, footprints, config.max_sessions, self._log
            ),
            events=self._events,
            followers=self._followers,
            health=health,
            handover=handover,
            processes=shared.processes,
            admission=shared.small,
        )

    async def start(self) -> None:
        """Take the lease, create the reply stream; then read. Its Redis has been checked."""
        await self._sweeper.keep_clock_once()
        await self._sweeper.beat_once()
        self._supervisor.start()

    async def stop(self) -> None:
        """Loops end first, Redis last."""
        await self._supervisor.stop()
        with suppress(TimeoutError):  # a request that is not cancelled now ends by its deadline
            async with asyncio.timeout(CANCEL_S):
                await self._dispatch.finish()
        with suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(LAST_EVENTS_S):
                await self._recent.run_once()
        self._failures.summarise()
        self._shared_memory.close()
        await self._log.finish(LAST_EVENTS_S)
        await self._links.aclose()

    def _owns(self, name: str) -> bool:
        return self._shared.cells.home(name) == self.name

    def _make_loops(self) -> list[Loop]:
        shared, keys, scripts = self._shared, self._links.keys, self._links.scripts
        calls, config = self._links.calls, shared.config
        ingress = Ingress(
            self._links.ingress, keys, scripts, self.intake, shared.gateway, config.max_body_bytes,
            lambda: self._links.location.in_cluster,
        )  # fmt: skip
        outbox = Outbox(self._links.outbox, keys, scripts, shared.gateway, shared.processes)
        many = len(shared.cells.names) > 1
        own = partial(shared.shares.of, self.name) if many else None
        preload = Preload(shared.catalog, calls, keys, scripts, own)
        left = LeftModels(calls, keys, scripts, shared.catalog)
        moved = MovedModels(calls, keys, scripts, self._owns)
        sweeper, of_the_house = self._sweeper, self._sweeper.of_the_house
        loops = [
            Loop("lease", sweeper.beat_once, min(BEAT_EVERY_S, config.lease_s / 4)),
            Loop("replies", self._waiters.run_once),
            Loop("deadlines", self._waiters.expire_once, EXPIRE_EVERY_S),
            Loop("shared memory", self._shared_memory.look_once, LOOK_EVERY_S),
            Loop("clock", sweeper.keep_clock_once, CLOCK_EVERY_S),
            Loop("reap", of_the_house(sweeper.reap_once), SWEEP_EVERY_S),
            Loop("sweep", of_the_house(sweeper.sweep_once), SWEEP_EVERY_S),
            Loop("reconcile", of_the_house(sweeper.reconcile_once), SWEEP_EVERY_S),
            Loop("kept", of_the_house(sweeper.drop_kept_once), SWEEP_EVERY_S),
            Loop("ingress", ingress.run_once),
            Loop("outbox", outbox.run_once),
            Loop("failures", self._failures.run_once, LOG_EVERY_S),
            Loop("recent outcomes", self._recent.run_once, SEND_EVERY_S),
            Loop("events", self._followers.run_once),
            Loop("preload", of_the_house(preload.follow_once), FOLLOW_EVERY_S),
            Loop("left models", of_the_house(left.run_once), LEFT_EVERY_S),
        ]
        if many:
            loops.append(Loop("moved models", of_the_house(moved.run_once), MOVED_EVERY_S))
        return loops
