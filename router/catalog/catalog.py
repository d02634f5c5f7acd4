"""Which models exist: a gateway's cache of the repository's manifests.

The repository is the truth and manifests hardly change, so a gateway caches them for `ttl_s`. Then
it reads again: beside serving for a busy model, before answering for an idle one (for a second at
most: a store that does not answer must not delay cached models). If that finds a newer version
whose trial is under way, requests for an idle model wait for its result too, as long as they can;
those for a busy one get the loaded version. Unknown names are cached as unknown; all requests for
one name share one read.
"""

from __future__ import annotations

import asyncio
import math
import time
from functools import partial
from typing import NamedTuple

from router.catalog.newest import PATIENCE_S, READ_S, Found, Look, Newest, pauses
from router.catalog.versions import Entries, Entry, LoadedVersions
from shared.errors import NotFound, RepositoryError, StoreUnavailable, WarmrouteError
from shared.names import ModelRef, check_model_name
from shared.repository import Repository

__all__ = ["LATEST", "PATIENCE_S", "Catalog", "Entry", "Listed"]

MAX_CACHED = 20_000
GRACE_S = 1.0  # what is staler is read again before it is used
LATEST = 0
NEVER = -math.inf
NOTHING = (NEVER, None)

Key = tuple[str, int]


class Listed(NamedTuple):
    """A model of the index; `error`: why its versions cannot be listed."""

    name: str
    versions: list[int]
    error: str = ""


class Catalog:
    """Manifests by name and version. `loaded`: the versions that workers have loaded."""

    def __init__(
        self, repository: Repository, ttl_s: float, loaded: LoadedVersions | None = None
    ) -> None:
        self._entries = Entries(repository)
        self._newest = Newest(self._entries, loaded)
        self._ttl_s = ttl_s
        self._cache: dict[Key, tuple[float, Entry | NotFound]] = {}
        self._looks: dict[Key, Look] = {}
        self._unsettled: dict[str, ModelRef] = {}  # trials that requests waited for already

    def fresh(self, name: str, version: int = LATEST) -> Entry | None:
        """The entry if it is cached and recent; the warm path's only step."""
        until, cached = self._cache.get((name, version), NOTHING)
        return cached if isinstance(cached, Entry) and until > time.monotonic() else None

    async def resolve(
        self, name: str, version: int = LATEST, patience_s: float = PATIENCE_S
    ) -> Entry:
        """The entry of a version (LATEST: the newest that is loaded). `patience_s`: how long the
        caller would wait for one newer than the cached one. NotFound, RepositoryError."""
        key = (name, version)
        until, cached = self._cache.get(key, NOTHING)
        stale_s = time.monotonic() - until
        if stale_s < 0 and isinstance(cached, Entry):
            return cached
        if stale_s < 0 and isinstance(cached, NotFound):
            # A new one each time: a raised exception holds on to its caller's frames.
            raise NotFound(cached.message)
        if isinstance(cached, Entry):
            look = self._look(key, idle=stale_s > GRACE_S)
            if stale_s > GRACE_S and patience_s > 0:
                await look.wait(patience_s)
            return self._last(key, cached)
        check_model_name(name)
        look = self._look(key, idle=True)
        entry = (await asyncio.shield(look.found)).entry
        await look.wait_for_trial(patience_s)
        return self._last(key, entry)

    def settling(self, name: str, version: int, waited_s: float, patience_s: float) -> bool:
        """Whether a request that cannot wait here, and has waited elsewhere for `waited_s`, should
        come again in a moment, as a newer version may be found. Starts that read."""
        key = (name, version)
        until, cached = self._cache.get(key, NOTHING)
        if not isinstance(cached, Entry) or time.monotonic() - until <= GRACE_S:
            return False
        look = self._look(key, idle=True)
        most_s = PATIENCE_S if look.found.done() else READ_S
        return not look.is_over() and waited_s < min(most_s, patience_s)

    async def read(self, name: str, version: int = LATEST) -> Entry:
        """A version as it is in the repository now (LATEST: the highest, loaded or not)."""
        if version == LATEST:
            versions = await self.versions(name)
            if not versions:
                raise NotFound(f"model {name!r} is not in the repository")
            version = versions[-1]
        return await self._entries.read(check_model_name(name), version)

    def invalidate(self, name: str) -> None:
        """Make the next request for the model read the repository again."""
        for key in [key for key in self._cache if key[0] == name]:
            self._cache[key] = (NEVER, self._cache[key][1])

    async def index(self) -> list[Listed]:
        """Every model of the repository and its versions, ascending. One whose folder cannot be
        read is listed with the error; StoreUnavailable if none can."""
        names = await self._entries.models()
        return list(await asyncio.gather(*(self._list(name) for name in names)))

    async def _list(self, name: str) -> Listed:
        try:
            return Listed(name, await self._entries.versions(name))
        except StoreUnavailable:
            raise
        except RepositoryError as error:
            return Listed(name, [], error.message)

    async def versions(self, name: str) -> list[int]:
        """Versions of a model, ascending; [] if no model has that name."""
        return await self._entries.versions(check_model_name(name))

    # Looks -----------------------------------------------------------------------------------

    def _last(self, key: Key, cached: Entry) -> Entry:
        """The entry that is in the cache now, else `cached`."""
        latest = self._cache.get(key, NOTHING)[1]
        if isinstance(latest, NotFound):
            raise NotFound(latest.message)
        return latest or cached

    def _look(self, key: Key, *, idle: bool) -> Look:
        """The one look at this version under way."""
        look = self._looks.get(key)
        if look is None or look.is_over():
            found = asyncio.create_task(self._find(key))
            found.add_done_callback(partial(self._found, key, idle))  # before its waiters run
            look = Look(found, asyncio.create_task(self._follow(key, idle, found)))
            look.task.add_done_callback(partial(self._end, key, look))
            self._looks[key] = look
        return look

    def _end(self, key: Key, look: Look, _: object) -> None:
        if self._looks.get(key) is look:
            del self._looks[key]

    async def _find(self, key: Key) -> Found:
        name, version = key
        if version != LATEST:
            return Found(await self._entries.read(name, version))
        last = self._cache.get(key, NOTHING)[1]
        return await self._newest.find(name, last if isinstance(last, Entry) else None)

    def _found(self, key: Key, idle: bool, found: asyncio.Task[Found]) -> None:
        """Cache the first result; without one the cached entry stays."""
        if found.cancelled():
            return
        error = found.exception()
        if error is None:
            self._remember(
                key, found.result().entry, still_open=self._is_open(found.result(), idle)
            )
        elif isinstance(error, NotFound):
            self._remember(key, error)
        elif key in self._cache:
            self._cache[key] = (time.monotonic(), self._cache[key][1])

    async def _follow(self, key: Key, idle: bool, first: asyncio.Task[Found]) -> None:
        """While a newer version is being tried, read again after each trial."""
        try:
            found, left = await asyncio.shield(first), pauses()
            while found.trial is not None:
                if not await self._newest.settled(found.trial, left):
                    self._note_unsettled(found.trial.ref)
                    break
                found = await self._find(key)
                self._remember(key, found.entry, still_open=self._is_open(found, idle))
        except WarmrouteError:
            return  # the next request asks again
        self._remember(key, found.entry)

    def _is_open(self, found: Found, idle: bool) -> bool:
        """Whether requests wait for the trial: not twice for the same one."""
        trial = found.trial
        return idle and trial is not None and self._unsettled.get(trial.ref.name) != trial.ref

    def _remember(self, key: Key, found: Entry | NotFound, *, still_open: bool = False) -> None:
        if len(self._cache) >= MAX_CACHED:
            self._cache.clear()
        until = NEVER if still_open else time.monotonic() + self._ttl_s
        kept = NotFound(found.message) if isinstance(found, NotFound) else found
        self._cache[key] = (until, kept)

    def _note_unsettled(self, trial: ModelRef) -> None:
        if len(self._unsettled) >= MAX_CACHED:
            self._unsettled.clear()
        self._unsettled[trial.name] = trial
