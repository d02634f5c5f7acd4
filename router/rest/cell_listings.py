"""Listings of all cells: the documents of each put together. With one cell they are its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace as changed
from typing import Any

from router.fleet.fleet_pages import MOST_COPIES, FleetQuery
from router.fleet.load_status import Readiness
from router.rest.cells import Cells, Gathered, gap, place_in, within
from router.rest.context import GatewayContext
from shared.errors import Unavailable
from shared.repository import Listed

Key = tuple[str, int]
Found = tuple[set[Key], dict[Key, Readiness]]  # what is held, what is refused
LISTS = ("workers", "models", "loads")


class ModelStates:
    """What the index says of some models: from the cell that each belongs to."""

    def __init__(self, cells: Cells, answers: Gathered[Found]) -> None:
        self._cells = cells
        self._away = answers.away
        self._held: set[Key] = set()
        self._troubles: dict[Key, Readiness] = {}
        for held, troubles in answers.found.values():
            self._held |= held
            self._troubles |= troubles

    @classmethod
    async def read(cls, cells: Cells, models: Sequence[Listed]) -> ModelStates:
        """Ask those cells, at a time."""
        parts: dict[str, list[Listed]] = {}
        for model in models:
            parts.setdefault(cells.of_model(model.name).cell, []).append(model)

        async def ask(context: GatewayContext) -> Found:
            part, residency = parts.get(context.cell), context.residency
            if not part:
                return set(), {}
            return await asyncio.gather(residency.held(part), residency.troubles(part))

        return cls(cells, await cells.all(ask))

    def of(self, key: Key) -> tuple[bool, Readiness | None]:
        """Whether some worker holds the version; why requests for it are refused."""
        return key in self._held, self._troubles.get(key)

    def away(self, name: str) -> str:
        """Why the cell of a model does not answer; '' if it does."""
        if not self._away:
            return ""
        cell = self._cells.of_model(name).cell
        return f"cell {cell}: {self._away[cell]}" if cell in self._away else ""


async def fleet_report(cells: Cells, query: FleetQuery) -> dict[str, Any]:
    """The document of GET /v2/residency. With several cells one cell after the other, each row with
    the name of its own, and `next` names the cell."""
    if not cells.many:
        return await cells.first.fleet.report(query)
    document: dict[str, Any] = {name: [] for name in LISTS} | {"next": None}
    away: dict[str, str] = {}
    for context, place in cells.behind(query.after):
        left = query.limit - len(document["workers"])
        if not left or _copies(document) >= MOST_COPIES:
            document["next"] = place_in(context, place)
            break
        try:
            part = await within(context.fleet.report(changed(query, limit=left, after=place)))
        except Unavailable as error:
            away[context.cell] = error.message
            continue
        for name in LISTS:
            document[name] += [{"cell": context.cell, **row} for row in part[name]]
        if part["next"] is not None:
            document["next"] = place_in(context, part["next"])
            break
    return document | gap(away)


def _copies(document: dict[str, Any]) -> int:
    return sum(len(row["models"]) + len(row["warm"]) for row in document["workers"])
