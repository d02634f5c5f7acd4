"""What a request without a version gets: the newest version that is live.

A newer one that is not is tried beside serving, newest first. Where none is live, requests
themselves load the newest that has not just failed. A version whose manifest cannot be read is
passed over, and said once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from typing import NamedTuple

from router.catalog.entries import Entries, Entry
from router.catalog.live_versions import LiveVersions
from shared.errors import (
    BlobMissing,
    Corrupt,
    Forbidden,
    NotFound,
    Unavailable,
    WarmrouteError,
)

log = logging.getLogger(__name__)

MOST_TRIED = 8  # the newest that are not live; older ones are left alone
MAX_TOLD = 1000
UNREADABLE = (NotFound, Corrupt, Forbidden, BlobMissing)


class Found(NamedTuple):
    """What requests get, and a newer version whose trial is under way."""

    entry: Entry
    trial: Entry | None = None


class Newest:
    """Finds it. Without `live` (no cell to ask) it is the newest that can be read."""

    def __init__(self, entries: Entries, live: LiveVersions | None) -> None:
        self._entries = entries
        self._live = live
        self._told: set[tuple[str, int]] = set()

    async def find(self, name: str, last: Entry | None) -> Found:
        """`last`: what requests got before. NotFound, RepositoryError or Unavailable."""
        versions = (await self._entries.versions(name))[::-1]
        if not versions:
            raise NotFound(f"model {name!r} is not in the repository")
        if self._live is None:
            return Found(await self._untried(name, versions))
        live = await self._known_live(self._live, name, versions, last)
        newer: list[Entry] = []
        if not live:
            return Found(await self._untried(name, versions))
        looked_at = [v for at, v in enumerate(versions) if at < MOST_TRIED or v in live]
        async for entry in self._readable(name, looked_at):
            if live.get(entry.ref.version) == entry.ref.digest:
                return await self._beside(self._live, entry._replace(live=True), newer)
            newer.append(entry)
        return Found(await self._untried(name, versions))

    async def _known_live(
        self, live: LiveVersions, name: str, versions: list[int], last: Entry | None
    ) -> dict[int, str]:
        """What Redis says. If it lost that, what was live is, until workers say it again."""
        known = await live.of(name)
        if not known and last is not None and last.live and not await live.is_unloadable(last):
            return {last.ref.version: last.ref.digest}
        gone = known.keys() - set(versions)
        if gone:
            await live.forget(name, gone)
        return {version: digest for version, digest in known.items() if version not in gone}

    async def _beside(self, live: LiveVersions, entry: Entry, newer: Iterable[Entry]) -> Found:
        """Try the newer ones beside serving `entry`: one at a time."""
        for other in newer:
            verdict = await live.try_out(other)
            if verdict == "live":
                return Found(other._replace(live=True))
            if verdict == "coming":
                return Found(entry, other)
        return Found(entry)

    async def _untried(self, name: str, versions: list[int]) -> Entry:
        """The newest that has not just failed to load; else the newest, whose refusal is told."""
        newest: Entry | None = None
        async for entry in self._readable(name, versions[:MOST_TRIED]):
            newest = newest or entry
            if self._live is None or not await self._live.is_unloadable(entry):
                return entry
        if newest is None:  # none of them can be read: say why of the newest
            return await self._entries.read(name, versions[0])
        return newest

    async def _readable(self, name: str, versions: Iterable[int]) -> AsyncIterator[Entry]:
        for version in versions:
            try:
                yield await self._entries.read(name, version)
            except UNREADABLE as error:
                self._say(name, version, error)

    def _say(self, name: str, version: int, error: WarmrouteError) -> None:
        if (name, version) not in self._told:
            log.warning("model %s version %s is passed over: %s", name, version, error.message)
            if len(self._told) >= MAX_TOLD:
                self._told.clear()
            self._told.add((name, version))

    async def settled(self, trial: Entry, pauses: Iterable[float]) -> bool:
        """Wait for the end of a trial; False if it goes on longer than all the pauses."""
        for pause_s in pauses:
            await asyncio.sleep(pause_s)
            try:
                if self._live is None or await self._live.verdict(trial) != "coming":
                    return True
            except Unavailable:  # Redis is away: nobody can say
                return False
        return False
