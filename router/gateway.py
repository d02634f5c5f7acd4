"""The composition root of a gateway: builds its services, starts and stops them in order.

A door is wired here in one line: `rest` gets `context()`, `stream` a loop, another one `intake`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import suppress

from router.catalog.catalog import LOOK_AT_INDEX_S, WALK_EVERY_S, Catalog
from router.catalog.versions import LoadedVersions
from router.events.followers import Followers
from router.events.pages import EventPages
from router.fleet.copy_states import CopyStates
from router.fleet.fleet_pages import FleetPages
from router.fleet.footprints import Footprints
from router.fleet.health import Health
from router.fleet.load_status import LoadStatus
from router.fleet.model_control import ModelControl
from router.fleet.policies import Policies
from router.fleet.preload import FOLLOW_EVERY_S, Preload
from router.fleet.reader import ResidencyReader
from router.fleet.sessions import Sessions
from router.fleet.sweeper import BEAT_EVERY_S, CLOCK_EVERY_S, SWEEP_EVERY_S, Sweeper
from router.fleet.version_states import VersionStates
from router.requests.dead_letters import DeadLetters
from router.requests.dispatch import Dispatch
from router.requests.hand_over import Handover
from router.requests.intake import Admission, Intake
from router.requests.open_requests import OpenRequests
from router.requests.outcome_log import LOG_EVERY_S, SEND_EVERY_S, FailureLog, RecentOutcomes
from router.requests.records import Records
from router.requests.shared_memory import LOOK_EVERY_S, GatewaySharedMemory
from router.requests.waiters import EXPIRE_EVERY_S, Waiters
from router.rest.context import GatewayContext
from router.rest.error_responses import STATUS
from router.stream.ingress import Ingress
from router.stream.outbox import Outbox
from router.v2.json_processes import JsonProcesses
from shared.channel import Channel
from shared.config import RouterConfig
from shared.connection import open_redis
from shared.errors import Unavailable
from shared.event_log import EventLog
from shared.keys import Keys
from shared.placed import Limits
from shared.redis_check import check_redis
from shared.redis_kind import check_kind
from shared.repository import open_repository
from shared.scripts import GatewayScripts
from shared.service import Loop, Supervisor
from shared.shared_memory import open_shared_memory

log = logging.getLogger(__name__)

CANCEL_S = 2.0
CONNECTIONS = 6  # its five channels, and one for what is asked rarely, which takes up to 16
LAST_EVENTS_S = 1.0
SMALL_BODIES_BYTES = 64 << 20  # of all calls at a time, but those of models


class Gateway:
    """One gateway without its sockets."""

    def __init__(self, config: RouterConfig) -> None:
        self.config = config
        self.id = "gw-" + secrets.token_hex(6)
        self._keys = Keys(config.cell)
        self._client = open_redis(config.redis_url)
        # Each blocking reader has a channel of its own: it would delay the commands behind it.
        self._channels = [Channel(config.redis_url) for _ in range(5)]
        self._calls, self._replies, self._ingress, self._outbox, self._news = self._channels
        self._scripts = GatewayScripts(self._calls, self._keys)
        self._log = EventLog(self._calls, self._keys)
        self._sweeper = Sweeper(
            self._scripts, self.id, config.lease_s, config.max_attempts, self._log,
            config.kept_bytes,
        )  # fmt: skip
        self._waiters = Waiters(self._replies, self._keys, self.id)
        self._shared_memory = GatewaySharedMemory(
            self._calls,
            self._keys,
            self.id,
            open_shared_memory(config.shared_memory, config.cell, config.redis_url),
            config.shared_memory_bytes,
        )
        self._events = EventPages(self._client, self._keys)
        self._followers = Followers(self._news, self._keys, self._events)
        self._recent = RecentOutcomes(self._scripts, config.remembered)
        self._failures = FailureLog(self._calls, self._keys, self.id, self._recent, STATUS)
        self._limits = Limits(config.max_queue, config.max_parked, config.max_pending)
        self._dispatch = Dispatch(
            self.id, self._keys, self._scripts, self._limits, self._waiters, self._shared_memory,
            self._failures.ended,
        )  # fmt: skip
        self._repository = open_repository(config.model_repository, **config.store_options)
        self._loaded = LoadedVersions(self._calls, self._keys, self._scripts)
        self._catalog = Catalog(self._repository, config.catalog_ttl_s, self._loaded)
        self._processes = JsonProcesses()
        self.intake = Intake(
            config, self._catalog, self._dispatch, self._failures, self._recent, self._processes
        )
        self._supervisor = Supervisor(self._make_loops())

    def context(self) -> GatewayContext:
        """The services that HTTP endpoints call."""
        client, keys, scripts = self._client, self._keys, self._scripts
        states, footprints = CopyStates(client, keys), Footprints(client, keys)
        return GatewayContext(
            config=self.config,
            intake=self.intake,
            catalog=self._catalog,
            versions=VersionStates(self._catalog, self._loaded, states, self._events),
            records=Records(scripts, self._waiters, self.id, LoadStatus(self._calls, keys)),
            open_requests=OpenRequests(client, keys),
            dead_letters=DeadLetters(client, keys, scripts, self._limits, self.config.timeout_s),
            residency=ResidencyReader(client, keys),
            fleet=FleetPages(client, keys),
            states=states,
            control=ModelControl(scripts, states, footprints),
            policies=Policies(client, keys, scripts, self._log),
            sessions=Sessions(
                client, keys, scripts, states, footprints, self.config.max_sessions, self._log
            ),
            events=self._events,
            followers=self._followers,
            health=self._make_health(),
            handover=self._make_handover(),
            processes=self._processes,
            admission=Admission(self.config.max_waiting, SMALL_BODIES_BYTES),
        )

    async def start(self) -> None:
        """Check Redis and the repository, take the lease, create the reply stream; then read."""
        config = self.config
        strict = bool(config.strict)
        await check_kind(self._client, self._keys)
        found = await check_redis(
            self._client, config.redis_url, strict=strict, connections=CONNECTIONS
        )
        for warning in found:
            log.warning("Redis: %s", warning)
        await asyncio.to_thread(self._repository.check)
        await self._sweeper.keep_clock_once()
        await self._sweeper.beat_once()
        self._supervisor.start()

    async def stop(self) -> None:
        """Loops end first, Redis last."""
        await self._supervisor.stop()
        await self._processes.stop()
        with suppress(TimeoutError):  # a request that is not cancelled now ends by its deadline
            async with asyncio.timeout(CANCEL_S):
                await self._dispatch.finish()
        with suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(LAST_EVENTS_S):
                await self._recent.run_once()
        self._failures.summarise()
        self._shared_memory.close()
        await self._log.finish(LAST_EVENTS_S)
        for channel in self._channels:
            await channel.aclose()
        await self._client.aclose()

    def _make_health(self) -> Health:
        return Health(
            self._calls, self._keys, self._supervisor, self.config.min_workers,
            lambda: self._sweeper.redis_is_full,
        )  # fmt: skip

    def _make_handover(self) -> Handover:
        return Handover(
            self.id, self._keys, self._calls, self._scripts, self._dispatch, self._waiters,
            self._shared_memory, self._supervisor, self._followers,
        )  # fmt: skip

    def _make_loops(self) -> list[Loop]:
        ingress = Ingress(
            self._ingress, self._keys, self._scripts, self.intake, self.id,
            self.config.max_body_bytes,
        )  # fmt: skip
        outbox = Outbox(self._outbox, self._keys, self._scripts, self.id, self._processes)
        preload = Preload(self._catalog, self._calls, self._keys, self._scripts)
        sweeper, of_the_house = self._sweeper, self._sweeper.of_the_house
        return [
            Loop("lease", sweeper.beat_once, min(BEAT_EVERY_S, self.config.lease_s / 4)),
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
            Loop("index", self._catalog.look_once, LOOK_AT_INDEX_S),
            Loop("listing", self._catalog.walk_once, WALK_EVERY_S),
            Loop("preload", of_the_house(preload.follow_once), FOLLOW_EVERY_S),
        ]
