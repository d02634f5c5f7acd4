"""The versions of one model: which one requests get, which workers hold them, and load failures.

The document of GET /v2/models/{model}/versions.
"""

from __future__ import annotations

import asyncio
from typing import Any

from router.catalog.catalog import Catalog, Entry
from router.catalog.versions import LoadedVersions
from router.events.pages import EventFilter, EventPages
from router.fleet.copy_states import FAILED, WAITING, CopyState, CopyStates
from shared.errors import NotFound, StoreUnavailable, WarmrouteError
from shared.names import check_model_name

MOST_SHOWN = 32
FAILURES = frozenset({"load_failed", "refused", "out_of_memory"})
MOST_EVENTS = 50
COLD, UNREADABLE = "cold", "unreadable"


class VersionStates:
    """Reads them from the repository and from Redis."""

    def __init__(
        self, catalog: Catalog, loaded: LoadedVersions, states: CopyStates, events: EventPages
    ) -> None:
        self._catalog = catalog
        self._loaded = loaded
        self._states = states
        self._events = events

    async def of(self, name: str) -> dict[str, Any]:
        """The newest first, MOST_SHOWN at most. NotFound."""
        versions = (await self._catalog.versions(check_model_name(name)))[::-1]
        if not versions:
            raise NotFound(f"model {name!r} is not in the repository")
        shown = versions[:MOST_SHOWN]
        entries = await asyncio.gather(*(self._read(name, version) for version in shown))
        served = await self._served(
            name
        )  # first: it may find a newer version that is loaded by now
        live, troubles = await asyncio.gather(self._loaded.of(name), self._troubles(name))
        readable = [entry for entry in entries if isinstance(entry, Entry)]
        states = await self._states.of([str(entry.ref) for entry in readable])
        by_version = dict(zip((entry.ref.version for entry in readable), states, strict=True))
        rows = [
            _unreadable(version, entry)
            if isinstance(entry, WarmrouteError)
            else _row(entry, live, by_version[version], troubles.get(str(entry.ref), ""))
            for version, entry in zip(shown, entries, strict=True)
        ]
        more = len(versions) - len(shown)
        return {"name": name, "serves": served, "versions": rows, "not_shown": more}

    async def _read(self, name: str, version: int) -> Entry | WarmrouteError:
        try:
            return await self._catalog.look_into(name, version)
        except StoreUnavailable:
            raise
        except WarmrouteError as error:
            return error

    async def _served(self, name: str) -> str | None:
        """The version that a request without one gets here; None if none can be read."""
        try:
            return str((await self._catalog.resolve(name, patience_s=1.0)).ref.version)
        except StoreUnavailable:
            raise
        except WarmrouteError:
            return None

    async def _troubles(self, name: str) -> dict[str, str]:
        """The reason of the last failed load, by reference."""
        page = await self._events.newest(MOST_EVENTS, EventFilter(name, kinds=FAILURES))
        return {event.ref: event.reason for event in page.events}


def _row(entry: Entry, live: dict[int, str], state: CopyState, trouble: str) -> dict[str, Any]:
    ref, word = entry.ref, state.state
    row: dict[str, Any] = {
        "version": str(ref.version),
        "digest": ref.digest,
        "platform": entry.manifest.platform,
        "max_batch": entry.manifest.batching.max_size,
        "live": live.get(ref.version) == ref.digest,
        "state": COLD if word == WAITING else word,
        "workers": sorted(state.copies),
    }
    if word == FAILED and state.error is not None:
        row |= {"error": state.error.message, "code": state.error.code}
    elif not row["live"] and word == WAITING and trouble:
        row["error"] = trouble
    return row


def _unreadable(version: int, error: WarmrouteError) -> dict[str, Any]:
    return {
        "version": str(version), "live": False, "state": UNREADABLE, "workers": [],
        "error": error.message, "code": error.code,
    }  # fmt: skip
