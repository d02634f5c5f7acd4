"""Which models exist: a gateway's cache of the repository.

The manifest of a version never changes and is read once. Which version a request without one gets
is cached for `ttl_s`. Then it is found again: beside serving for a busy model, before answering for
an idle one (for a second at most: a store that does not answer must not delay cached models). If
that finds a newer version whose trial is under way, requests for an idle model wait for its result
too, as long as they can; those for a busy one get the loaded version. All requests for one name
share one look, and each waits for it until its own deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from router.catalog.entries import Entries, Entry
from router.catalog.known import LATEST, Key, Known
from router.catalog.listing import Listing
from router.catalog.listings import Listings
from router.catalog.look import SlowStore
from router.catalog.looks import Looks
from router.catalog.newest import PATIENCE_S, READ_S, Newest
from router.catalog.slots import Slots
from router.catalog.versions import LoadedVersions
from shared import clock
from shared.errors import NotFound, Unavailable
from shared.names import check_model_name
from shared.repository import Listed, Repository
from shared.slices import in_slices

__all__ = ["LATEST", "PATIENCE_S", "Catalog", "Entry", "SlowStore"]

QUICK_READS, SLOW_READS = 8, 56
BACKGROUND_READS, BACKGROUND_SLOW = 4, 8  # preload, lists of versions
LONGEST_S = 30.0  # for the repository, where the caller has no deadline
LOOK_AT_INDEX_S = 1.0
WALK_EVERY_S = 5.0  # it is asked so often whether a listing is due
GRACE_S = 1.0  # what is staler is found again before it is used

Result = TypeVar("Result")


class Catalog:
    """Manifests by name and version. `loaded`: the versions that workers have loaded."""

    def __init__(
        self, repository: Repository, ttl_s: float, loaded: LoadedVersions | None = None
    ) -> None:
        serving = Slots(QUICK_READS, SLOW_READS)
        self._ttl_s = ttl_s
        self.changes = 0  # of the repository, as its index shows them
        self._entries = Entries(repository, serving, Slots(BACKGROUND_READS, BACKGROUND_SLOW))
        self._listings = Listings(repository, serving, self._forget_deleted)
        self._known = Known(self._entries, ttl_s)
        self._served = self._known.served
        newest = Newest(self._listings, self._entries, loaded)
        self._looks = Looks(self._listings, self._entries, newest, self._known)

    def fresh(self, name: str, version: int = LATEST) -> Entry | None:
        """The entry if it is cached and recent; the warm path's only step."""
        if version != LATEST:
            return self._entries.kept(name, version)
        kept = self._served.get(name)
        return kept.entry if kept is not None and kept.until > clock.monotonic() else None

    async def resolve(
        self, name: str, version: int = LATEST, patience_s: float = PATIENCE_S,
        within_s: float = LONGEST_S,
    ) -> Entry:  # fmt: skip
        """The entry of a version (LATEST: the newest that is loaded). `patience_s`: how long the
        caller would wait for one newer than the cached one; `within_s`: for any. NotFound,
        SlowStore if the repository does not answer in that time, RepositoryError."""
        key, ends = (name, version), clock.monotonic() + within_s
        kept = self._known.get(key)
        if kept is not None:
            if kept.stale_s >= 0:
                idle = kept.stale_s > GRACE_S
                look = self._looks.at(key, idle=idle)
                if idle and patience_s > 0:
                    await look.wait(min(patience_s, within_s))
            return self._last(key, kept.entry)
        self._known.raise_if_unknown(key)
        look = self._looks.at((check_model_name(name), version), idle=True)
        entry = (await look.first(_named(key), within_s)).entry
        await look.wait_for_trial(min(patience_s, ends - clock.monotonic()))
        return self._last(key, entry)

    async def at_hand(self, name: str, version: int, waited_s: float, patience_s: float) -> Entry:
        """As `resolve`, for a request that must not wait here: it has waited elsewhere for
        `waited_s`, and comes again after Unavailable."""
        key = (name, version)
        kept = self._known.get(key)
        if kept is not None and kept.stale_s <= GRACE_S:
            if kept.stale_s >= 0:
                self._looks.at(key, idle=False)
            return kept.entry
        if kept is None:
            self._known.raise_if_unknown(key)
            self._known.raise_if_failed(key)
        look = self._looks.at((check_model_name(name), version), idle=True)
        await look.wait_shortly()
        if kept is None:
            if not look.found.done():
                raise Unavailable(f"{_named(key)}: being read from the repository; retry later")
            return self._last(key, look.found.result().entry)
        most_s = PATIENCE_S if look.found.done() else READ_S
        if not look.is_over() and waited_s < min(most_s, patience_s):
            raise Unavailable(f"the versions of {name[:80]!r} are being read; retry later")
        return self._last(key, kept.entry)

    async def read(self, name: str, version: int = LATEST) -> Entry:
        """A version as it is in the repository now (LATEST: the highest, loaded or not)."""
        if version == LATEST:
            versions = await self.versions(name)
            if not versions:
                raise NotFound(f"model {name!r} is not in the repository")
            version = versions[-1]
        reading = self._entries.current(check_model_name(name), version)
        return await _bounded(reading, _named((name, version)))

    async def look_into(self, name: str, version: int) -> Entry:
        """A version, read beside serving and not kept for requests."""
        reading = self._entries.look_into(check_model_name(name), version)
        return await _bounded(reading, _named((name, version)))

    def trouble(self, name: str, version: int) -> str:
        """Why a version could not be read the last time; '' if it could, or was not read."""
        return self._entries.trouble(name, version)

    def invalidate(self, name: str) -> None:
        """Make the next request for the model read the repository again."""
        self._entries.keep_only(name, ())
        self._known.make_stale(name)

    async def index(self, max_age_s: float | None = None) -> list[Listed]:
        """Every model of the repository and its versions, as they were up to `max_age_s` ago (as
        long as versions are cached). One that cannot be read is listed with the error;
        RepositoryError if none can."""
        age_s = self._ttl_s if max_age_s is None else max_age_s
        listing = await _bounded(self._listings.all(age_s), "the list of models")
        return list(listing.values())

    async def latest(self) -> Listing:
        """Every model of the repository, as its index has it, or its last listing. RepositoryError
        if there is neither."""
        return await _bounded(self._listings.latest(), "the list of models")

    async def look_once(self) -> int:
        """Look at the index of the repository: what has changed is found again by the next request.
        The number of models."""
        names = await self._listings.look_once()
        self._known.note_changes(names)
        self.changes += bool(names)
        return len(names)

    async def walk_once(self) -> int:
        """List the repository, if that is due; the number of models."""
        return await self._listings.walk_once()

    async def listing(self) -> Listing:
        """As `index`, to be read page by page."""
        return await _bounded(self._listings.all(self._ttl_s), "the list of models")

    async def versions(self, name: str) -> list[int]:
        """Versions of a model, ascending; [] if no model has that name."""
        listing = self._listings.versions(check_model_name(name), known=True)
        return await _bounded(listing, f"the versions of model {name!r}")

    async def _forget_deleted(self, listing: Listing) -> None:
        """Versions that are not in the repository any more are not answered any more."""
        async for name in in_slices(self._entries.names()):
            row = listing.get(name)
            if row is None or not row.error:
                self._entries.keep_only(name, row.versions if row is not None else ())

    def _last(self, key: Key, entry: Entry) -> Entry:
        """The entry that requests get by now, else `entry`. NotFound if it has been deleted."""
        kept = self._known.get(key)
        if kept is None:
            self._known.raise_if_unknown(key)
        return entry if kept is None else kept.entry


async def _bounded(reading: Awaitable[Result], what: str) -> Result:
    try:
        async with asyncio.timeout(LONGEST_S):
            return await reading
    except TimeoutError:
        raise SlowStore(f"{what}: the repository has not answered in {LONGEST_S:g} s") from None


def _named(key: Key) -> str:
    name, version = key
    return f"model {name!r} version {version}" if version != LATEST else f"model {name!r}"
