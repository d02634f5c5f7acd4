"""The cells of a gateway as its HTTP door uses them: which one a call goes to, and calls to all.

by model    the cell that the name hashes to
by id       the cell that the id names, then all others: an id may be older than the list of cells
by all      one answer of the parts; a cell that is away leaves a gap that is marked
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Generic, NamedTuple, TypeVar

from aiohttp import web

from router.catalog.cell_map import CellMap
from router.fleet.place import refused
from router.rest.cell_turns import AWAY_S, first_of, in_turn, within
from router.rest.context import GatewayContext, Handler
from shared.cell_list import CellAddress
from shared.errors import Gone, NotFound, Unavailable

Result = TypeVar("Result")
Row = TypeVar("Row")
Read = Callable[[GatewayContext, int, str], Awaitable[tuple[list[Row], str | None]]]


class Gathered(NamedTuple, Generic[Result]):
    """The answers by cell, in the order of the list of cells; `away`: why a cell did not answer."""

    found: dict[str, Result]
    away: dict[str, str]


class Page(NamedTuple, Generic[Row]):
    """Rows with the cell of each; `next`: where the following page begins, None at the end."""

    rows: list[tuple[GatewayContext, Row]]
    next: str | None
    away: dict[str, str]


class Cells:
    """The contexts of a gateway, one for each cell."""

    def __init__(self, cells: CellMap, contexts: Sequence[GatewayContext]) -> None:
        self._map = cells
        self._contexts = {context.cell: context for context in contexts}
        self.first = contexts[0]
        self.many = len(self._contexts) > 1

    def of_model(self, name: str) -> GatewayContext:
        """The cell of a model, whether it is there or not."""
        return self._contexts[self._map.home(name)]

    def named(self, cell: str) -> GatewayContext | None:
        """The cell of that name."""
        return self._contexts.get(cell)

    @property
    def names(self) -> list[str]:
        """In the order of the list of cells."""
        return list(self._contexts)

    def only(self, cell: str) -> Cells:
        """One of them, as a gateway of that cell alone has it."""
        return Cells(CellMap([CellAddress(cell, "")]), [self._contexts[cell]])

    async def of_key(self, model: str, key: str) -> GatewayContext:
        """The cell for a call with an idempotency key: that of the model, or the one in which a
        request was accepted under the key before its model moved. A cell that is away is not
        waited for: it would stop calls for models that are not there."""
        home, *earlier = (self._contexts[cell] for cell in self._map.owners(model))
        for context in earlier:
            with suppress(Unavailable):
                if await context.keyed.has(key):
                    return context
        return home

    async def find(
        self, request_id: str, call: Callable[[GatewayContext], Awaitable[Result]]
    ) -> Result:
        """What the cell answers that knows the id. NotFound; Unavailable if a cell that may have it
        does not answer."""
        if not self.many:
            return await call(self.first)
        named = self._map.of_id(request_id)
        others = [cell for cell in self._contexts if cell not in named]
        missing: list[NotFound] = []
        away: dict[str, Unavailable] = {}

        async def ask(cell: str) -> Result:
            try:
                return await call(self._contexts[cell])
            except NotFound as error:
                missing.append(error)
                raise
            except Unavailable as error:
                away[cell] = error
                raise

        for group in (*([cell] for cell in named), others):
            with suppress(NotFound, Unavailable):
                return await first_of(ask(cell) for cell in group)
        if away and (not named or away.keys() & set(named)):
            raise _may_be_there(request_id, away)
        if not named:
            raise NotFound(
                f"request {request_id}: unknown, or accepted in a cell that this gateway does not "
                "serve any more (WARMROUTE_CELLS)"
            )
        raise _best(missing)

    async def all(
        self, call: Callable[[GatewayContext], Awaitable[Result]], *, optional: bool = False,
        within_s: float | None = AWAY_S,
    ) -> Gathered[Result]:  # fmt: skip
        """What all cells answer, at a time. Errors but Unavailable are raised, that one too if no
        cell answers. `optional`: a cell may have nothing; NotFound only if none has."""
        if not self.many:
            return Gathered({self.first.cell: await call(self.first)}, {})
        answers = await asyncio.gather(
            *(within(call(context), within_s) for context in self._contexts.values()),
            return_exceptions=True,
        )
        gathered: Gathered[Result] = Gathered({}, {})
        missing: list[NotFound] = []
        for cell, answer in zip(self._contexts, answers, strict=True):
            if isinstance(answer, Unavailable):
                gathered.away[cell] = answer.message
            elif isinstance(answer, NotFound) and optional:
                missing.append(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                gathered.found[cell] = answer
        if not gathered.found and gathered.away:
            raise Unavailable(said(gathered.away), retry_after_s=1)
        if not gathered.found and missing:
            raise _best(missing)
        return gathered

    async def pages(self, limit: int, after: str, read: Read[Row]) -> Page[Row]:
        """A page of what all cells have, one cell after the other: a cell's rows are in its order,
        and `next` names the cell. InvalidInput for an `after` that is not one."""
        if not self.many:
            rows, follows = await read(self.first, limit, after)
            return Page([(self.first, row) for row in rows], follows, {})
        found: list[tuple[GatewayContext, Row]] = []

        async def take(context: GatewayContext, place: str) -> str | None:
            rows, follows = await read(context, limit - len(found), place)
            found.extend((context, row) for row in rows)
            return follows

        ended = await in_turn(self.behind(after), lambda: len(found) == limit, take)
        return Page(found, *ended)

    def behind(self, after: str) -> list[tuple[GatewayContext, str]]:
        """The cells that are left behind the `next` of a page, and where to begin in each: only in
        the first one not at its start. InvalidInput for text that is none."""
        cell, _, place = after.partition(".")
        if after and cell not in self._contexts:
            raise refused()
        names = self.names[self.names.index(cell) if after else 0 :]
        return [(self._contexts[name], "" if at else place) for at, name in enumerate(names)]


CELLS = web.AppKey("cells", Cells)


def of_model(request: web.Request) -> GatewayContext:
    """The cell of the model that the path names."""
    return request.app[CELLS].of_model(request.match_info["model"])


def by_id(handler: Handler) -> Handler:
    """A handler of the request id in the path, called in the cell that has the request."""

    async def handle(request: web.Request, context: GatewayContext) -> web.StreamResponse:
        cells, request_id = request.app[CELLS], request.match_info["id"]
        return await cells.find(request_id, lambda context: handler(request, context))

    return handle


def gap(away: dict[str, str]) -> dict[str, dict[str, str]]:
    """The mark in a document that lacks what is in cells that do not answer; nothing if none."""
    return {"cells_away": away} if away else {}


def said(away: dict[str, str]) -> str:
    """Which cells are away, and why, as a sentence."""
    return "; ".join(f"cell {cell}: {why}" for cell, why in away.items())


def _best(missing: Sequence[NotFound]) -> NotFound:
    """That it has ended says more than that it is unknown."""
    return next((error for error in missing if isinstance(error, Gone)), missing[0])


def _may_be_there(request_id: str, away: dict[str, Unavailable]) -> Unavailable:
    why = said({cell: error.message for cell, error in away.items()})
    return Unavailable(f"{request_id}: it may be in a cell that is away: {why}", retry_after_s=1)
