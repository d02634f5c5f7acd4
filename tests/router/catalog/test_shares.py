"""The share of each cell in the listing: split once for all, nothing left out or doubled."""

from __future__ import annotations

import asyncio

import pytest

from router.catalog.cell_map import CellMap
from router.catalog.listing import Listing
from router.catalog.shares import Shares
from shared.cell_list import CellAddress
from shared.repository import Listed

NAMES = ("a", "b", "c")


class Counted(CellMap):
    """Counts the names whose cells were looked for."""

    def __init__(self) -> None:
        super().__init__([CellAddress(name, "") for name in NAMES])
        self.asked: list[str] = []
        find = self.home

        def home(name: str) -> str:
            self.asked.append(name)
            return find(name)

        self.home = home


def listing(*names: str) -> Listing:
    return Listing(Listed(name, (1,)) for name in names)


async def test_each_model_is_in_the_share_of_its_cell() -> None:
    """As the same object, until the listing is another one."""
    cells, names = Counted(), [f"model-{number:02}" for number in range(50)]
    current = listing(*names)

    async def latest() -> Listing:
        return current

    shares = Shares(latest, cells)
    parts = await asyncio.gather(*(shares.of(cell) for cell in NAMES))
    assert sorted(name for part in parts for name in part) == names
    for cell, part in zip(NAMES, parts, strict=True):
        assert {cells.home(name) for name in part} == {cell}
        assert await shares.of(cell) is part
    current = listing(*names[:40], "new")
    cells.asked.clear()
    parts = await asyncio.gather(*(shares.of(cell) for cell in NAMES))
    assert sorted(name for part in parts for name in part) == [*names[:40], "new"]
    assert cells.asked == ["new"]


async def test_a_repository_that_is_away_is_away_for_each_cell() -> None:
    async def latest() -> Listing:
        raise RuntimeError("away")

    with pytest.raises(RuntimeError, match="away"):
        await Shares(latest, Counted()).of("a")
