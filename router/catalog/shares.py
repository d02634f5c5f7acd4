"""The models of each cell: its share of the last listing of the repository.

A listing is split once for all cells of a gateway, and the cell of a name is remembered: if each
cell looked through all names for its own, 100 cells would look at 100,000 names 100 times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from router.catalog.cell_map import CellMap
from router.catalog.listing import Listing
from shared.repository import Listed
from shared.slices import in_slices


class Shares:
    """`latest`: the listing of all models. RepositoryError."""

    def __init__(self, latest: Callable[[], Awaitable[Listing]], cells: CellMap) -> None:
        self._latest = latest
        self._cells = cells
        self._whole: Listing | None = None
        self._parts: dict[str, Listing] = {}
        self._home: dict[str, str] = {}
        self._splitting = asyncio.Lock()

    async def of(self, cell: str) -> Listing:
        """Its models; the same object until the repository changes. RepositoryError."""
        whole = await self._latest()
        async with self._splitting:
            if whole is not self._whole:
                await self._split(whole)
        return self._parts[cell]

    async def _split(self, whole: Listing) -> None:
        rows: dict[str, list[Listed]] = {cell: [] for cell in self._cells.names}
        home: dict[str, str] = {}
        async for row in in_slices(whole.values()):
            cell = home[row.name] = self._home.get(row.name) or self._cells.home(row.name)
            rows[cell].append(row)
        self._parts = {cell: Listing(part) for cell, part in rows.items()}
        self._home, self._whole = home, whole
