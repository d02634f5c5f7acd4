"""The loaded versions of each model, asked of the cell that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from contextlib import suppress

from router.catalog.entries import Entry
from router.catalog.versions import LoadedVersions, TrialState
from shared.errors import Unavailable


class FleetVersions(LoadedVersions):
    """`owners`: those of the cell of a model by its name, then of the cells in which it may have
    been before."""

    def __init__(self, owners: Callable[[str], Sequence[LoadedVersions]]) -> None:
        self._owners = owners

    async def of(self, name: str) -> dict[int, str]:
        """Version -> digest. A model that has just moved to a cell was loaded in the one before:
        a newer version that cannot be loaded must not be taken for the newest that is."""
        home, *earlier = self._owners(name)
        found = await home.of(name)
        for one in earlier:
            with suppress(Unavailable):  # a cell that is away is missed by its own models only
                found = found or await one.of(name)
        return found

    async def let_go(self, name: str, left: Container[int]) -> dict[int, str]:
        """See LoadedVersions."""
        return await self._home(name).let_go(name, left)

    async def is_unloadable(self, entry: Entry) -> bool:
        """See LoadedVersions."""
        return await self._home(entry.ref.name).is_unloadable(entry)

    async def try_out(self, entry: Entry) -> TrialState:
        """See LoadedVersions."""
        return await self._home(entry.ref.name).try_out(entry)

    async def trial_state(self, entry: Entry) -> TrialState:
        """See LoadedVersions."""
        return await self._home(entry.ref.name).trial_state(entry)

    def _home(self, name: str) -> LoadedVersions:
        return self._owners(name)[0]
