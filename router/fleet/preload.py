"""Loads models without a request: those whose manifest has `preload` or `min_copies`.

A round reads the newest version of every model of the repository, one call at a time, with a pause
after each, so it slows down neither requests nor the store. A manifest is read once. It keeps the
version that requests get: a newer one is tried beside it, and replaces it when a worker has loaded
it (then `announce` ends the order of the older one). Loads are ordered only while the cold queue is
short: in it they would delay those of requests. Every gateway does this; a load that is ordered is
not ordered twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from router.catalog.catalog import Catalog, Entry
from shared import statuses
from shared.channel import Channel
from shared.connection import redis_errors
from shared.errors import (
    Corrupt,
    NotFound,
    RepositoryError,
    StoreUnavailable,
    WarmrouteError,
)
from shared.keys import Keys
from shared.names import ModelRef
from shared.policy import Policy, effective
from shared.redis_decode import pairs, texts
from shared.repository import Repository
from shared.retry import until_answered
from shared.scripts import GatewayScripts

log = logging.getLogger(__name__)

Result = TypeVar("Result")

ROUND_EVERY_S = 30.0
PAUSE_S = 0.02  # after a call to the repository, for models that are seen the first time
LONGER_PAUSE_S = 0.1  # for models that are only checked for a newer version
MAX_ORDERS = 8  # that wait in the cold queue
FULL_PAUSE_S = 0.5
SHORT_S = 1.0  # for the repository, and a newer version's trial
TRIES = 3  # orders of a preload without a copy after it: its worker died, or it was evicted at once


class Preload:
    """`run_once` is one round."""

    def __init__(
        self, repository: Repository, catalog: Catalog, channel: Channel, keys: Keys,
        scripts: GatewayScripts,
    ) -> None:  # fmt: skip
        self._repository = repository
        self._catalog = catalog
        self._channel = channel
        self._keys = keys
        self._scripts = scripts
        self._newest: dict[str, int] = {}
        self._kept: dict[str, Entry] = {}
        self._tries: Counter[ModelRef] = Counter()
        self._unreadable: set[str] = set()
        self._away = False

    async def run_once(self) -> int:
        """Read the repository, order missing copies; the number of models to keep loaded."""
        names = await self._names()
        for name in names:
            await asyncio.sleep(LONGER_PAUSE_S if name in self._newest else PAUSE_S)
            if not self._away:
                await self._read(self._look_at(name), name)
            if name in self._kept:
                await self._have(await self._served(name))
        return len(self._kept)

    async def _names(self) -> list[str]:
        """The models of the repository; the last ones read, while it is away."""
        names = await self._read(asyncio.to_thread(self._repository.list_models))
        if names is None:
            return list(self._newest)
        for name in self._newest.keys() - set(names):
            await self._forget(name)
        return names

    async def _read(self, call: Coroutine[Any, Any, Result], name: str = "") -> Result | None:
        """Read the repository, None if it is away: it is read again in the next round, and fails no
        loop, as a gateway is ready without it. A model that cannot be read is skipped."""
        try:
            answer = await call
        except RepositoryError as error:
            away = not name or isinstance(error, StoreUnavailable)
            if (not self._away) if away else name not in self._unreadable:
                log.warning("preload: %s; retried in every round", error.message)
            self._unreadable |= set() if away else {name}
            self._away = away
            return None
        self._away = False
        self._unreadable.discard(name)
        return answer

    async def _look_at(self, name: str) -> None:
        versions = await self._catalog.versions(name)
        if not versions or versions[-1] == self._newest.get(name):
            return
        entry: Entry | None = None
        try:
            entry = await self._catalog.resolve(name, versions[-1])
        except NotFound:
            return  # that is cached for a while: the next round may read it
        except Corrupt as error:
            log.warning("preload: %s", error.message)
        self._newest[name] = versions[-1]
        if entry is not None and entry.manifest.residency.least_copies:
            self._kept.setdefault(name, entry)

    async def _served(self, name: str) -> Entry:
        """The version that requests get now; a newer one is tried meanwhile."""
        with suppress(WarmrouteError):
            self._kept[name] = await self._catalog.resolve(name, patience_s=SHORT_S)
        return self._kept[name]

    async def _forget(self, name: str) -> None:
        """The model has left the repository."""
        del self._newest[name]
        before = self._kept.pop(name, None)
        if before is not None and before.manifest.residency.min_copies:
            await until_answered(lambda: self._scripts.order_copy(str(before.ref), 0))

    async def _have(self, entry: Entry) -> None:
        """Order a copy, unless the API overrides the policy. `min_copies` is set in every round, as
        Redis may have lost it. A preloaded model may be evicted again."""
        policy = await until_answered(lambda: self._policy(entry))
        preload = policy.preload and self._tries[entry.ref] < TRIES
        if not policy.min_copies and not preload:
            return
        await self._turn()
        least = entry.manifest.residency.min_copies or None
        ordered = await until_answered(lambda: self._scripts.order_copy(str(entry.ref), least))
        if ordered.status != statuses.NO_WORKER:  # that can pass, and it costs nothing
            self._tries[entry.ref] += TRIES if ordered.status == statuses.HELD else 1

    async def _policy(self, entry: Entry) -> Policy:
        with redis_errors():
            flat: Any = await self._channel.execute_command(
                "HGETALL", self._keys.policy(str(entry.ref))
            )
        return effective(entry.manifest.residency, texts(pairs(flat)))

    async def _turn(self) -> None:
        """Wait until there is a worker, and the cold queue is short."""
        while not await until_answered(self._may_order):  # noqa: ASYNC110 - the state is in Redis
            await asyncio.sleep(FULL_PAUSE_S)

    async def _may_order(self) -> bool:
        ask = self._channel.execute_command
        with redis_errors():
            waiting, workers = await asyncio.gather(
                ask("LLEN", self._keys.rq_queue()), ask("ZCARD", self._keys.workers)
            )
        return bool(workers) and waiting < MAX_ORDERS
