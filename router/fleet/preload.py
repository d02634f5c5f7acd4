"""Loads models without a request: those whose manifest has `preload` or `min_copies`.

A round lists the repository in one read and compares it with the last one: only the manifests of
new versions are read, a few at a time, behind no request. It keeps the version that requests get: a
newer one is tried beside it, and replaces it when a worker has loaded it (then `announce` ends the
order of the older one). A model that cannot be read is skipped, and the others go on. Loads are
ordered only while the cold queue is short: in it they would delay those of requests. Every gateway
does this; a load that is ordered is not ordered twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from router.catalog.catalog import Catalog, Entry
from router.catalog.versions import LoadedVersions
from shared import statuses
from shared.channel import Channel
from shared.connection import redis_errors
from shared.errors import Corrupt, NotFound, RepositoryError, StoreUnavailable, WarmrouteError
from shared.keys import Keys
from shared.names import ModelRef
from shared.policy import Policy, effective
from shared.redis_decode import pairs, texts
from shared.repository import Listed
from shared.retry import until_answered
from shared.scripts import GatewayScripts

log = logging.getLogger(__name__)

ROUND_EVERY_S = 30.0
AT_ONCE = 4  # models
PAUSE_S = 0.02  # after each of them
MAX_ORDERS = 8  # that wait in the cold queue
FULL_PAUSE_S = 0.5
SHORT_S = 1.0  # for the repository, and a newer version's trial
TRIES = 3  # orders of a preload without a copy after it: its worker died, or it was evicted at once
AWAY_AFTER = 8  # manifests in a row that the store did not give: the next round goes on


class Preload:
    """`run_once` is one round."""

    def __init__(
        self, catalog: Catalog, channel: Channel, keys: Keys, scripts: GatewayScripts,
        owns: Callable[[str], bool] = lambda name: True,
    ) -> None:  # fmt: skip
        self._catalog = catalog
        self._owns = owns  # whether a model belongs to this cell
        self._channel = channel
        self._keys = keys
        self._scripts = scripts
        self._loaded = LoadedVersions(channel, keys, scripts)
        self._newest: dict[str, int] = {}
        self._kept: dict[str, Entry] = {}
        self._tries: Counter[ModelRef] = Counter()
        self._unreadable: set[str] = set()  # in the log already; "": the whole repository
        self._unanswered = 0
        self._ordering = asyncio.Lock()

    async def run_once(self) -> int:
        """List the repository, order missing copies; the number of models to keep loaded."""
        rows = await self._rows()
        self._unanswered = 0
        visited = iter([row for row in rows if self._is_new(row) or row.name in self._kept])
        await asyncio.gather(*(self._visit_each(visited) for _ in range(AT_ONCE)))
        return len(self._kept)

    async def _rows(self) -> list[Listed]:
        """The models of the repository; those that were known, while it is away. That fails no
        loop, as a gateway is ready without it."""
        try:
            rows = [row for row in await self._catalog.index() if self._owns(row.name)]
        except RepositoryError as error:
            self._log_unreadable("", error.message)
            return [Listed(name, []) for name in self._kept]
        self._unreadable.discard("")
        for row in rows:
            if row.error:
                self._log_unreadable(row.name, row.error)
        await self._let_go({row.name: row for row in rows})
        return rows

    async def _let_go(self, rows: Mapping[str, Listed]) -> None:
        """Nothing of a model or version is kept that has left the repository."""
        for name, newest in list(self._newest.items()):
            row = rows.get(name)
            if row is not None and (row.error or (row.versions and row.versions[-1] >= newest)):
                continue
            left = row.versions if row is not None else []
            before = self._kept.get(name)
            if (
                before is not None and before.ref.version not in left
            ):  # it may never have been loaded
                await until_answered(partial(self._scripts.order_copy, str(before.ref), 0))
            if not left:
                del self._newest[name]
                self._kept.pop(name, None)
            await until_answered(partial(self._loaded.let_go, name, left))

    def _is_new(self, row: Listed) -> bool:
        return bool(row.versions) and row.versions[-1] != self._newest.get(row.name)

    async def _visit_each(self, rows: Iterable[Listed]) -> None:
        """One after the other; whatever happens to one, the others go on."""
        for row in rows:
            try:
                await self._visit(row)
            except Exception:
                log.exception("preload: model %s", row.name)
            await asyncio.sleep(PAUSE_S)

    async def _visit(self, row: Listed) -> None:
        if self._is_new(row) and self._unanswered < AWAY_AFTER:
            try:
                await self._look_at(row.name, row.versions[-1])
            except RepositoryError as error:
                self._unanswered += isinstance(error, StoreUnavailable)
                self._log_unreadable(row.name, error.message)
            else:
                self._unanswered = 0
        if row.name in self._kept:
            await self._have(await self._served(row.name))

    def _log_unreadable(self, name: str, why: str) -> None:
        if name not in self._unreadable:
            log.warning("preload: %s; retried in every round", why)
            self._unreadable.add(name)

    async def _look_at(self, name: str, newest: int) -> None:
        entry: Entry | None = None
        try:
            entry = await self._catalog.look_into(name, newest)
        except NotFound:
            return  # deleted meanwhile
        except Corrupt as error:
            log.warning("preload: %s", error.message)
        self._unreadable.discard(name)
        self._newest[name] = newest
        if entry is not None and entry.manifest.residency.least_copies:
            self._kept.setdefault(name, entry)

    async def _served(self, name: str) -> Entry:
        """The version that requests get now; a newer one is tried meanwhile."""
        with suppress(WarmrouteError):
            self._kept[name] = await self._catalog.resolve(name, patience_s=SHORT_S)
        return self._kept[name]

    async def _have(self, entry: Entry) -> None:
        """Order a copy, unless the API overrides the policy. `min_copies` is set in every round, as
        Redis may have lost it. A preloaded model may be evicted again."""
        policy = await until_answered(lambda: self._policy(entry))
        preload = policy.preload and self._tries[entry.ref] < TRIES
        if not policy.min_copies and not preload:
            return
        least = entry.manifest.residency.min_copies or None
        async with self._ordering:
            await self._turn()
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
