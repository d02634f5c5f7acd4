"""What a request without a version gets: the newest version that is loaded.

    read what is there -> [a newer version is tried -> its result -> read again ...]

A newer one that is not loaded is tried beside serving, newest first. Where none is loaded, requests
themselves load the newest that has not just failed. A version whose manifest cannot be read is
skipped, and logged once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Container, Iterable, Iterator
from typing import NamedTuple

from router.catalog.entries import Entries, Entry
from router.catalog.listings import Listings
from router.catalog.recent import Recent
from router.catalog.versions import LoadedVersions
from shared.errors import (
    BlobMissing,
    Corrupt,
    Forbidden,
    NotFound,
    StoreUnavailable,
    Unavailable,
)

log = logging.getLogger(__name__)

MOST_TRIED = 8  # the newest that are not live; older ones are left alone
MAX_LOGGED = 1000
READ_S = 1.0  # how long a caller with an answer at hand waits for the store
PATIENCE_S = 10.0  # how long it waits for the trial of a newer version
FIRST_PAUSE_S, LONGEST_PAUSE_S, GROWTH = 0.02, 0.5, 1.3
UNREADABLE = (NotFound, Corrupt, Forbidden, BlobMissing)


class Found(NamedTuple):
    """What requests get, and a newer version whose trial is under way."""

    entry: Entry
    trial: Entry | None = None


class Newest:
    """Finds it. Without `loaded` (no cell to read) it is the newest that can be read."""

    def __init__(self, listings: Listings, entries: Entries, loaded: LoadedVersions | None) -> None:
        self._listings = listings
        self._entries = entries
        self._loaded = loaded
        self._logged: Recent[tuple[str, int], bool] = Recent(MAX_LOGGED)

    async def find(self, name: str, last: Entry | None) -> Found:
        """`last`: what requests got before. NotFound, RepositoryError or Unavailable."""
        versions = (await self._listings.versions(name, known=last is not None))[::-1]
        self._entries.keep_only(name, versions)
        if not versions:
            if self._loaded is not None and last is not None:
                await self._loaded.let_go(name, ())
            raise NotFound(f"model {name!r} is not in the repository")
        if self._loaded is None:
            return Found(await self._untried(name, versions))
        live = await self._loaded_now(self._loaded, name, versions, last)
        newer: list[Entry] = []
        if not live:
            return Found(await self._untried(name, versions))
        looked_at = [v for at, v in enumerate(versions) if at < MOST_TRIED or v in live]
        async for entry in self._readable(name, looked_at, live):
            if live.get(entry.ref.version) == entry.ref.digest:
                return await self._beside(self._loaded, entry._replace(loaded=True), newer)
            newer.append(entry)
        return Found(await self._untried(name, versions))

    async def _loaded_now(
        self, loaded: LoadedVersions, name: str, versions: list[int], last: Entry | None
    ) -> dict[int, str]:
        """The loaded versions in Redis. If it lost them, the last one, until workers record it
        again."""
        found = await loaded.let_go(name, versions)
        if not found and last is not None and last.loaded and not await loaded.is_unloadable(last):
            return {last.ref.version: last.ref.digest}
        return found

    async def _beside(self, loaded: LoadedVersions, entry: Entry, newer: Iterable[Entry]) -> Found:
        """Try the newer ones beside serving `entry`, one at a time."""
        for other in newer:
            state = await loaded.try_out(other)
            if state == "live":
                return Found(other._replace(loaded=True))
            if state == "coming":
                return Found(entry, other)
        return Found(entry)

    async def _untried(self, name: str, versions: list[int]) -> Entry:
        """The newest whose load has not just failed; else the newest, whose error callers get."""
        newest: Entry | None = None
        async for entry in self._readable(name, versions[:MOST_TRIED]):
            newest = newest or entry
            if self._loaded is None or not await self._loaded.is_unloadable(entry):
                return entry
        if newest is None:  # none can be read: raise the error of the newest
            return await self._entries.read(name, versions[0])
        return newest

    async def _readable(
        self, name: str, versions: Iterable[int], live: Container[int] = ()
    ) -> AsyncIterator[Entry]:
        """`live`: the loaded ones. If there are any, no other one is waited for."""
        for version in versions:
            optional = bool(live) and version not in live
            try:
                async with asyncio.timeout(READ_S if optional else None):
                    entry = await self._entries.current(name, version)
            except UNREADABLE as error:
                self._log_skipped(name, version, error.message)
            except (TimeoutError, StoreUnavailable):
                if not optional:
                    raise
                self._log_skipped(name, version, "its manifest cannot be read in time")
            else:
                yield entry

    def _log_skipped(self, name: str, version: int, why: str) -> None:
        if (name, version) not in self._logged:
            log.warning("model %s version %s is skipped: %s", name, version, why)
            self._logged.put((name, version), True)

    async def settled(self, trial: Entry, pauses: Iterable[float]) -> bool:
        """Wait for the end of a trial; False if it takes longer than all the pauses."""
        for pause_s in pauses:
            await asyncio.sleep(pause_s)
            try:
                if self._loaded is None or await self._loaded.trial_state(trial) != "coming":
                    return True
            except Unavailable:  # Redis is away: the state is unknown
                return False
        return False


def pauses() -> Iterator[float]:
    """Seconds between looks at a trial: longer each time, PATIENCE_S in all."""
    pause_s, left_s = FIRST_PAUSE_S, PATIENCE_S
    while left_s > 0:
        yield pause_s
        left_s -= pause_s
        pause_s = min(pause_s * GROWTH, LONGEST_PAUSE_S)
