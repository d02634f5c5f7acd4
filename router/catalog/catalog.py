"""Which models exist: a gateway's cache of the repository's manifests.

The repository is the truth and manifests hardly change, so a gateway keeps what it read for
`ttl_s`. Then it reads again: beside serving a model that is asked for all the time, before
answering for one that nobody asked for in a while (a second at most: a store that does not answer
must not hold up what is known). If that finds a newer version which is being tried, requests for an
idle model wait for the verdict too, as long as they can; those for a busy one get what is live.
Unknown names are remembered as unknown; all who ask for one name share one look.
"""

from __future__ import annotations

import asyncio
import math
import time
from functools import partial
from typing import NamedTuple

from router.catalog.entries import Entries, Entry
from router.catalog.live_versions import LiveVersions
from router.catalog.lookup import PATIENCE_S, READ_S, Look, pauses
from router.catalog.newest import Found, Newest
from shared.errors import NotFound, RepositoryError, StoreUnavailable, WarmrouteError
from shared.names import ModelRef, check_model_name
from shared.repository import Repository

__all__ = ["LATEST", "PATIENCE_S", "Catalog", "Entry", "Listed"]

MAX_REMEMBERED = 20_000
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
    """Manifests by name and version. `live` says which versions have been loaded."""

    def __init__(
        self, repository: Repository, ttl_s: float, live: LiveVersions | None = None
    ) -> None:
        self._entries = Entries(repository)
        self._newest = Newest(self._entries, live)
        self._ttl_s = ttl_s
        self._known: dict[Key, tuple[float, Entry | NotFound]] = {}
        self._looks: dict[Key, Look] = {}
        self._in_vain: dict[str, ModelRef] = {}  # trials that idle models waited for already

    def fresh(self, name: str, version: int = LATEST) -> Entry | None:
        """The entry if it was read a short while ago; the warm path's only step."""
        until, known = self._known.get((name, version), NOTHING)
        return known if isinstance(known, Entry) and until > time.monotonic() else None

    async def resolve(
        self, name: str, version: int = LATEST, patience_s: float = PATIENCE_S
    ) -> Entry:
        """The entry of a version (LATEST: the newest that is live). `patience_s`: how long the
        caller would wait for something newer than what is known. NotFound, RepositoryError."""
        key = (name, version)
        until, known = self._known.get(key, NOTHING)
        stale_s = time.monotonic() - until
        if stale_s < 0 and isinstance(known, Entry):
            return known
        if stale_s < 0 and isinstance(known, NotFound):
            # A new one each time: a raised exception holds on to its caller's frames.
            raise NotFound(known.message)
        if isinstance(known, Entry):
            look = self._look(key, idle=stale_s > GRACE_S)
            if stale_s > GRACE_S and patience_s > 0:
                await look.wait(patience_s)
            return self._last(key, known)
        check_model_name(name)
        look = self._look(key, idle=True)
        entry = (await asyncio.shield(look.found)).entry
        await look.wait_for_trial(patience_s)
        return self._last(key, entry)

    def settling(self, name: str, version: int, waited_s: float, patience_s: float) -> bool:
        """Whether one who cannot wait here, and has waited elsewhere for `waited_s`, should come
        again in a moment: something newer than what is known may be found. It has begun, if so."""
        key = (name, version)
        until, known = self._known.get(key, NOTHING)
        if not isinstance(known, Entry) or time.monotonic() - until <= GRACE_S:
            return False
        look = self._look(key, idle=True)
        most_s = PATIENCE_S if look.found.done() else READ_S
        return not look.is_over() and waited_s < min(most_s, patience_s)

    async def read(self, name: str, version: int = LATEST) -> Entry:
        """A version as it stands in the repository now (LATEST: the highest, live or not)."""
        if version == LATEST:
            versions = await self.versions(name)
            if not versions:
                raise NotFound(f"model {name!r} is not in the repository")
            version = versions[-1]
        return await self._entries.read(check_model_name(name), version)

    def doubt(self, name: str) -> None:
        """There may be something newer: the next request for the model reads again."""
        for key in [key for key in self._known if key[0] == name]:
            self._known[key] = (NEVER, self._known[key][1])

    async def index(self) -> list[Listed]:
        """Every model of the repository and its versions, ascending. One whose folder cannot be
        read is listed with the reason; StoreUnavailable if nothing can."""
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
        """Versions of a model, ascending; [] if there is none of that name."""
        return await self._entries.versions(check_model_name(name))

    # Looks -----------------------------------------------------------------------------------

    def _last(self, key: Key, known: Entry) -> Entry:
        """What is known by now."""
        latest = self._known.get(key, NOTHING)[1]
        if isinstance(latest, NotFound):
            raise NotFound(latest.message)
        return latest or known

    def _look(self, key: Key, *, idle: bool) -> Look:
        """The one look at this version under way."""
        look = self._looks.get(key)
        if look is None or look.is_over():
            found = asyncio.create_task(self._find(key))
            found.add_done_callback(partial(self._heard, key, idle))  # before who waits for it
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
        last = self._known.get(key, NOTHING)[1]
        return await self._newest.find(name, last if isinstance(last, Entry) else None)

    def _heard(self, key: Key, idle: bool, found: asyncio.Task[Found]) -> None:
        """Remember the first answer; if there is none, what is known must do."""
        if found.cancelled():
            return
        error = found.exception()
        if error is None:
            self._remember(
                key, found.result().entry, still_open=self._is_open(found.result(), idle)
            )
        elif isinstance(error, NotFound):
            self._remember(key, error)
        elif key in self._known:
            self._known[key] = (time.monotonic(), self._known[key][1])

    async def _follow(self, key: Key, idle: bool, first: asyncio.Task[Found]) -> None:
        """While a newer version is being tried, look again after each verdict."""
        try:
            found, left = await asyncio.shield(first), pauses()
            while found.trial is not None:
                if not await self._newest.settled(found.trial, left):
                    self._note_in_vain(found.trial.ref)
                    break
                found = await self._find(key)
                self._remember(key, found.entry, still_open=self._is_open(found, idle))
        except WarmrouteError:
            return  # the next request asks again
        self._remember(key, found.entry)

    def _is_open(self, found: Found, idle: bool) -> bool:
        """Whether requests wait for the verdict: not twice for the same."""
        trial = found.trial
        return idle and trial is not None and self._in_vain.get(trial.ref.name) != trial.ref

    def _remember(self, key: Key, found: Entry | NotFound, *, still_open: bool = False) -> None:
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        until = NEVER if still_open else time.monotonic() + self._ttl_s
        told = NotFound(found.message) if isinstance(found, NotFound) else found
        self._known[key] = (until, told)

    def _note_in_vain(self, trial: ModelRef) -> None:
        if len(self._in_vain) >= MAX_REMEMBERED:
            self._in_vain.clear()
        self._in_vain[trial.name] = trial
