"""Loads models without a request: those whose manifest has `preload` or `min_copies`.

A round compares what the repository's index says with the last one: only the manifests of new
versions are read, unless the index says that they want no copies, a few at a time, behind no
request. Kept models are looked at as long as something is to be done for them; of the others a few
in each round, as Redis may have lost what was set. So a round costs what has changed.

It keeps the version that requests get: a newer one is tried beside it, and replaces it when a
worker has loaded it (then `announce` ends the order of the older one). A model that cannot be read
is skipped, and the others go on. Loads are ordered only while the cold queue is short: in it they
would delay those of requests. Every gateway does this; a load that is ordered is not ordered twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any

from router.catalog.catalog import Catalog, Entry
from router.catalog.listing import Listing
from router.catalog.versions import LoadedVersions
from router.fleet.short_queue import ShortQueue
from shared import clock, statuses
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
from shared.slices import in_slices

log = logging.getLogger(__name__)

ROUND_EVERY_S = 30.0
FOLLOW_EVERY_S = 1.0
AT_ONCE = 4  # models
SETTLED_AT_ONCE = 64  # kept models that are looked at again in a round, all in their turn
PAUSE_S = 0.02  # after each of them
SHORT_S = 1.0  # for the repository, and a newer version's trial
TRIES = 3  # orders of a preload without a copy after it: its worker died, or it was evicted at once
AWAY_AFTER = 8  # manifests in a row that the store did not give: the next round goes on


class Preload:
    """`run_once` is one round; `follow_once` says when."""

    def __init__(
        self, catalog: Catalog, channel: Channel, keys: Keys, scripts: GatewayScripts,
        latest: Callable[[], Awaitable[Listing]] | None = None,
    ) -> None:  # fmt: skip
        self._catalog = catalog
        self._latest = latest or catalog.latest  # the models of this cell
        self._channel = channel
        self._keys = keys
        self._scripts = scripts
        self._loaded = LoadedVersions(channel, keys, scripts)
        self._newest: dict[str, int] = {}
        self._kept: dict[str, Entry] = {}
        self._tries: Counter[ModelRef] = Counter()
        self._unreadable: set[str] = set()  # in the log already; "": the whole repository
        # Kept models for which nothing is left to do, in the order in which they are looked at.
        self._settled: dict[str, ModelRef] = {}
        self._listing: Listing | None = None  # of the last complete round
        self._retried = False  # a manifest could not be read: the next round begins as this one
        self._unanswered = 0
        self._ordering, self._queue = asyncio.Lock(), ShortQueue(channel, keys)
        self._changes, self._due = -1, 0.0

    async def follow_once(self) -> int:
        """A round, if the repository has changed or the last one was a while ago."""
        if self._changes == self._catalog.changes and clock.monotonic() < self._due:
            return 0
        self._changes = self._catalog.changes
        self._due = clock.monotonic() + ROUND_EVERY_S
        return await self.run_once()

    async def run_once(self) -> int:
        """Compare the repository, order missing copies; the number of models to keep loaded."""
        self._unanswered, self._retried = 0, False
        listing = await self._latest_listing()
        rows: dict[str, Listed] = {}
        if listing is not None and listing is not self._listing:
            rows = await self._changed(listing)
        again = self._some_settled()
        known: Mapping[str, Listed] = listing or {}
        kept = {name: known.get(name) or Listed(name, ()) for name in self._kept}
        visited = [
            row async for row in in_slices((kept | rows).values()) if self._is_due(row, again)
        ]
        left = iter(visited)
        await asyncio.gather(*(self._visit_each(left) for _ in range(AT_ONCE)))
        if not self._retried:
            self._listing = listing
        return len(self._kept)

    def _some_settled(self) -> set[str]:
        """The next ones in turn."""
        names = list(islice(self._settled, SETTLED_AT_ONCE))
        for name in names:
            self._settled[name] = self._settled.pop(name)  # behind the others
        return set(names)

    def _is_due(self, row: Listed, again: Container[str]) -> bool:
        """Whether it is to be visited."""
        if not self._is_new(row):
            return row.name in self._kept and (row.name not in self._settled or row.name in again)
        newest = row.versions[-1]
        if row.required.get(newest) is False and row.name not in self._kept:
            self._newest[row.name] = newest
            return False
        return True

    async def _latest_listing(self) -> Listing | None:
        """The models; as they were in the last round while the repository is away: that fails no
        loop, as a gateway is ready without it."""
        try:
            listing = await self._latest()
        except RepositoryError as error:
            self._log_unreadable("", error.message)
            return self._listing
        self._unreadable.discard("")
        return listing

    async def _changed(self, listing: Listing) -> dict[str, Listed]:
        """The models that are not as they were when a round was last completed. Those that have
        gone are let go of. A row that has not changed is the same object."""
        before: Mapping[str, Listed] = self._listing or {}
        rows: dict[str, Listed] = {}
        async for row in in_slices(listing.values()):
            if before.get(row.name) is not row:
                rows[row.name] = row
                if row.error:
                    self._log_unreadable(row.name, row.error)
        gone = [name async for name in in_slices(list(self._newest)) if name not in listing]
        async for name in in_slices([*rows, *gone]):
            await self._let_go(name, listing.get(name))
        return rows

    async def _let_go(self, name: str, row: Listed | None) -> None:
        """Nothing of a model or version is kept that has left the repository."""
        newest = self._newest.get(name)
        if newest is None:
            return
        if row is not None and (row.error or (row.versions and row.versions[-1] >= newest)):
            return
        left = row.versions if row is not None else ()
        before = self._kept.get(name)
        if before is not None and before.ref.version not in left:  # it may never have been loaded
            await until_answered(partial(self._scripts.order_copy, str(before.ref), 0))
        if not left:
            del self._newest[name]
            self._kept.pop(name, None)
        self._settled.pop(name, None)
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
                await self._look_at(row)
            except RepositoryError as error:
                self._retried = True
                self._unanswered += isinstance(error, StoreUnavailable)
                self._log_unreadable(row.name, error.message)
            else:
                self._unanswered = 0
        if row.name in self._kept:
            await self._keep(row)

    async def _keep(self, row: Listed) -> None:
        """Have what is required of the version that requests get. It is settled once that is the
        newest, and nothing is left to order; then only its policy is read again."""
        name, newest = row.name, self._newest.get(row.name)
        entry, settled = self._kept[name], self._settled.get(name)
        if settled != entry.ref or entry.ref.version != newest:
            entry = await self._served(name)
        if not await self._have(entry) or entry.ref.version != newest:
            self._settled.pop(name, None)
        else:
            self._settled[name] = entry.ref

    def _log_unreadable(self, name: str, why: str) -> None:
        if name not in self._unreadable:
            log.warning("preload: %s; retried in every round", why)
            self._unreadable.add(name)

    async def _look_at(self, row: Listed) -> None:
        name, newest = row.name, row.versions[-1]
        self._settled.pop(name, None)
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

    async def _have(self, entry: Entry) -> bool:
        """Order a copy, unless the API overrides the policy; whether nothing is left to order.
        `min_copies` is set again whenever its turn comes, as Redis may have lost it. A preloaded
        model may be evicted again."""
        policy = await until_answered(lambda: self._policy(entry))
        preload = policy.preload and self._tries[entry.ref] < TRIES
        if not policy.min_copies and not preload:
            return True
        least = entry.manifest.residency.min_copies or None
        async with self._ordering:
            await self._queue.turn()
            ordered = await until_answered(lambda: self._scripts.order_copy(str(entry.ref), least))
        if ordered.status != statuses.NO_WORKER:  # that can pass, and it costs nothing
            self._tries[entry.ref] += TRIES if ordered.status == statuses.HELD else 1
        return ordered.status == statuses.HELD

    async def _policy(self, entry: Entry) -> Policy:
        with redis_errors():
            flat: Any = await self._channel.execute_command(
                "HGETALL", self._keys.policy(str(entry.ref))
            )
        return effective(entry.manifest.residency, texts(pairs(flat)))
