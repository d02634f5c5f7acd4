"""Listings of all cells: the documents of each put together. With one cell they are its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace as changed
from typing import Any

from router.fleet.fleet_pages import MOST_COPIES, FleetQuery, FleetRows
from router.fleet.json_rows import JsonRows
from router.fleet.load_status import Readiness
from router.rest.cell_turns import in_turn
from router.rest.cells import Cells, gap
from router.rest.context import GatewayContext
from shared.errors import Unavailable
from shared.repository import Listed
from shared.slices import in_slices

Key = tuple[str, int]
Found = tuple[set[Key], dict[Key, Readiness]]  # what is held, what is refused


class ModelStates:
    """What the index says of some models: from the cell that each belongs to."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._away: dict[str, str] = {}
        self._held: set[Key] = set()
        self._troubles: dict[Key, Readiness] = {}

    async def read(self, models: Sequence[Listed]) -> None:
        """Ask those cells, at a time; in place of what was read before. One that has not answered
        is not asked again: a long list would wait for it with each of its parts."""
        parts: dict[str, list[Listed]] = {}
        async for model in in_slices(models):
            parts.setdefault(self._cells.of_model(model.name).cell, []).append(model)

        async def ask(context: GatewayContext) -> Found:
            part, residency = parts.get(context.cell), context.residency
            if not part:
                return set(), {}
            if context.cell in self._away:
                raise Unavailable(self._away[context.cell])
            return await asyncio.gather(residency.held(part), residency.troubles(part))

        answers = await self._cells.all(ask)
        self._away |= answers.away
        self._held = {key for held, _ in answers.found.values() for key in held}
        self._troubles = {
            key: why for _, found in answers.found.values() for key, why in found.items()
        }

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
        return (await cells.first.fleet.report(query)).document()
    found = FleetRows(JsonRows(), JsonRows(), JsonRows())

    def is_full() -> bool:
        return found.workers.count == query.limit or found.copies >= MOST_COPIES

    async def take(context: GatewayContext, place: str) -> str | None:
        left = changed(query, limit=query.limit - found.workers.count, after=place)
        found.extend(await context.fleet.report(left, {"cell": context.cell}))
        return found.next

    ended = await in_turn(cells.behind(query.after), is_full, take)
    return found.document() | {"next": ended.next} | gap(ended.away)
