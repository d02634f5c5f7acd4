"""Which models and versions exist.

What the repository's index says is used where it takes fewer reads: for preload, and in a large
repository for lists of all models. In a small one they are listed in one read anyway.

One name is listed by itself, if the last list of everything has it, or as long as that is asked
seldom. Beyond so many a second, and for the index and preload, all names are listed in one read,
which every caller shares: a flood of unknown names, or thousands of busy models, costs the store no
more than that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from router.catalog.budget import Budget
from router.catalog.listing import Listing
from router.catalog.slots import Slots
from router.catalog.view import IndexView
from shared import clock
from shared.errors import RepositoryError
from shared.repository import Repository

SINGLE_PER_S, SINGLE_BURST = 16.0, 128
SHORTEST_PAUSE_S = 0.1  # between two listings of everything
LARGE = 500  # models: with their blobs' keys they may take more than one LIST
STALE_S = 10.0  # an index that could not be looked at for so many seconds is not used
PAUSE_FACTOR = 4.0  # or so many times as long as the last one took


class Listings:
    """`on_listed` is called with every listing of the whole repository."""

    def __init__(
        self, repository: Repository, serving: Slots,
        on_listed: Callable[[Listing], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._repository = repository
        self._serving = serving
        self._own = Slots(1)
        self._view, self._looking = IndexView(repository), Slots(1)
        self._on_listed = on_listed
        # Apart, or the refreshes of busy models would delay the first request of another.
        self._first = Budget(SINGLE_PER_S, SINGLE_BURST)
        self._again = Budget(SINGLE_PER_S, SINGLE_BURST)
        self._named = Budget(SINGLE_PER_S, SINGLE_BURST)
        self._listing = Listing(())
        self._listed_at = self._begun_at = self._not_before = float("-inf")
        self._next: asyncio.Task[Listing] | None = None
        self._running: asyncio.Task[Listing] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def versions(self, name: str, *, known: bool = False) -> list[int]:
        """Versions of a model, ascending, as they are now; [] if no model has that name.
        RepositoryError. `known`: the caller has an answer, and only checks that it holds."""
        listed = not known and name in self._listing
        if listed or (self._again if known else self._first).take():
            return await self._serving.run(self._repository.list_versions, name)
        row = (await self._begin_next()).get(name)
        if row is None:
            return []
        if row.error and not row.versions:
            raise RepositoryError(row.error)
        return list(row.versions)

    async def may_have(self, name: str, version: int) -> bool:
        """Whether it is worth while to read a named version: always, as long as few are read that
        were not read before; else if it is listed. RepositoryError."""
        row = self._listing.get(name)
        if (row is not None and version in row.versions) or self._named.take():
            return True
        row = (await self._begin_next()).get(name)
        return row is not None and (bool(row.error) or version in row.versions)

    async def all(self, max_age_s: float) -> Listing:
        """Every model by name, in order, as it was at most `max_age_s` ago; one that cannot be read
        with the error. RepositoryError if nothing can be listed."""
        if self._is_indexed():
            return self._listing
        oldest = clock.monotonic() - max_age_s
        if self._listed_at >= oldest:
            return self._listing
        if self._running is not None and self._begun_at >= oldest:
            return await asyncio.shield(self._running)
        return await self._begin_next()

    async def latest(self) -> Listing:
        """As `all`, without a listing of the repository as long as its index says what changes; and
        else with few of them. RepositoryError."""
        view = self._view
        if view.listing is not None and view.age_s() < STALE_S:
            return view.listing
        return await self.all(view.every_s())

    async def look_once(self) -> set[str]:
        """Look at the index; the names of the models that changed. A store that is away changes
        nothing: a gateway is ready without it."""
        try:
            names = await self._looking.run(self._view.look)
        except RepositoryError:
            return set()
        if names and self._view.listing is not None:
            await self._take(self._view.listing, clock.monotonic())
        return names

    async def walk_once(self) -> int:
        """List the repository if that is due; the number of models, 0 if it is not."""
        try:
            if not await self._looking.run(self._view.is_due):
                return 0
            began = clock.monotonic()
            found = await self._own.run(self._view.walk)
        except RepositoryError:
            return 0
        if self._view.listing is None:
            await self._take(found, began)
        return len(found)

    def _is_indexed(self) -> bool:
        """Whether the index is up to date, and saves reads."""
        view = self._view
        return len(view.listing or ()) >= LARGE and view.age_s() < STALE_S

    async def _take(self, listing: Listing, began: float) -> None:
        self._listing, self._listed_at = listing, began
        await self._on_listed(listing)

    async def _begin_next(self) -> Listing:
        """The listing that begins next, shared by all who come before it begins."""
        if self._is_indexed():
            return self._listing
        if self._next is None:
            self._next = asyncio.create_task(self._list())
            self._next.add_done_callback(_retrieved)
        return await asyncio.shield(self._next)

    async def _list(self) -> Listing:
        async with self._one_at_a_time:
            await asyncio.sleep(max(0.0, self._not_before - clock.monotonic()))
            self._running, self._next = self._next, None
            began = self._begun_at = clock.monotonic()
            try:
                rows = await self._own.run(self._repository.list_all)
            finally:
                self._running, took_s = None, clock.monotonic() - began
                pause_s = max(SHORTEST_PAUSE_S, PAUSE_FACTOR * took_s)
                self._not_before = clock.monotonic() + pause_s
            await self._take(Listing(rows), began)
        return self._listing


def _retrieved(task: asyncio.Task[Listing]) -> None:
    """Its error goes to the callers that wait, if any are left."""
    if not task.cancelled():
        task.exception()
