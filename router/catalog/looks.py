"""The looks at the repository under way: one for each version that is asked for.

find -> remember what requests get -> [a newer version is tried -> find again ...]
"""

from __future__ import annotations

import asyncio
from functools import partial

from router.catalog.entries import Entries
from router.catalog.known import LATEST, Key, Known
from router.catalog.listings import Listings
from router.catalog.look import Look
from router.catalog.newest import Found, Newest, pauses
from router.catalog.recent import Recent
from shared.errors import NotFound, Overloaded, WarmrouteError
from shared.names import ModelRef

MAX_LOOKS = 20_000
MAX_UNSETTLED = 20_000


class Looks:
    """Starts and follows them; what they find is remembered in `known`."""

    def __init__(self, listings: Listings, entries: Entries, newest: Newest, known: Known) -> None:
        self._listings = listings
        self._entries = entries
        self._newest = newest
        self._known = known
        self._looks: dict[Key, Look] = {}
        # Trials that requests waited for already.
        self._unsettled: Recent[str, ModelRef] = Recent(MAX_UNSETTLED)

    def at(self, key: Key, *, idle: bool) -> Look:
        """The one look at this version under way. Overloaded if there are too many."""
        look = self._looks.get(key)
        if look is None and len(self._looks) >= MAX_LOOKS:
            raise Overloaded("too many models are looked up in the repository; retry later")
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
            if not await self._listings.may_have(name, version):
                raise NotFound(f"model {name!r} has no version {version}")
            return Found(await self._entries.read(name, version))
        last = self._known.get(key)
        return await self._newest.find(name, None if last is None else last.entry)

    def _found(self, key: Key, idle: bool, found: asyncio.Task[Found]) -> None:
        """Remember the first result."""
        if found.cancelled():
            return
        error = found.exception()
        if error is not None:
            self._known.note_error(key, error)
            return
        result = found.result()
        self._known.remember(key, result.entry, stays_open=self._is_open(result, idle))

    async def _follow(self, key: Key, idle: bool, first: asyncio.Task[Found]) -> None:
        """While a newer version is being tried, find again after each trial."""
        try:
            found, left = await asyncio.shield(first), pauses()
            while found.trial is not None:
                if not await self._newest.settled(found.trial, left):
                    self._unsettled.put(found.trial.ref.name, found.trial.ref)
                    break
                found = await self._find(key)
                self._known.remember(key, found.entry, stays_open=self._is_open(found, idle))
        except WarmrouteError:
            return  # the next request asks again
        self._known.remember(key, found.entry)

    def _is_open(self, found: Found, idle: bool) -> bool:
        """Whether requests wait for the trial: not twice for the same one."""
        trial = found.trial
        return idle and trial is not None and self._unsettled.get(trial.ref.name) != trial.ref
