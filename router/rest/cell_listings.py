"""Listings of all cells: the documents of each put together. With one cell they are its own."""

from __future__ import annotations

import asyncio
from typing import Any

from router.fleet.load_status import Readiness
from router.rest.cells import Cells, gap
from router.rest.context import GatewayContext

Key = tuple[str, int]
LISTS = ("workers", "models", "loads")


class ModelStates:
    """What the index says of a version: from the cells that hold it, or refuse it."""

    def __init__(
        self, cells: Cells, held: set[Key], troubles: dict[Key, Readiness], away: dict[str, str]
    ) -> None:
        self._cells = cells
        self._held = held
        self._troubles = troubles
        self._away = away

    @classmethod
    async def read(cls, cells: Cells) -> ModelStates:
        """Those of all cells at a time."""
        answers, away = await cells.all(_states)
        held = set[Key]().union(*(held for held, _ in answers.values()))
        troubles: dict[Key, Readiness] = {}
        for _, found in answers.values():
            troubles |= found
        return cls(cells, held, troubles, away)

    def of(self, key: Key) -> tuple[bool, Readiness | None]:
        """Whether some worker holds the version; why requests for it are refused."""
        return key in self._held, self._troubles.get(key)

    def away(self, name: str) -> str:
        """Why the cell of a model does not answer; '' if it does."""
        if not self._away:
            return ""
        cell = self._cells.of_model(name).cell
        return f"cell {cell}: {self._away[cell]}" if cell in self._away else ""


async def fleet_report(cells: Cells) -> dict[str, Any]:
    """The document of GET /v2/residency; with several cells each row names its own."""
    answers, away = await cells.all(lambda context: context.residency.report())
    if not cells.many:
        return answers[cells.first.cell]
    merged: dict[str, Any] = {
        name: [
            {"cell": cell, **row} for cell, document in answers.items() for row in document[name]
        ]
        for name in LISTS
    }
    return merged | gap(away)


async def _states(context: GatewayContext) -> tuple[set[Key], dict[Key, Readiness]]:
    residency = context.residency
    return await asyncio.gather(residency.held(), residency.troubles())
