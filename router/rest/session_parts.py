"""Sessions over several cells: the models of one are pinned where they are, a part in each cell.

All parts have the id of the session. One that cannot be opened closes those that were opened with
it, so a session has all of its models or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from router.catalog.catalog import Entry
from router.rest.cells import Cells, gap
from router.rest.context import GatewayContext
from shared.errors import KeyReused, NotFound, WarmrouteError

Split = list[tuple[GatewayContext, list[Entry]]]


class SessionParts:
    """The sessions of all cells. With one cell they are its own."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells

    async def open(self, session: str, ttl_s: float, entries: Sequence[Entry]) -> bool:
        """Pin the models, or raise why not; False if this session was open already, as a whole. See
        `Sessions.open`."""
        parts = self._split(entries)
        if self._cells.many:
            await self._refuse_other_models(session, entries)
        opened: list[GatewayContext] = []
        try:
            for context, part in parts:
                if await context.sessions.open(session, ttl_s, part):
                    opened.append(context)
        except WarmrouteError:
            for context in opened:
                with suppress(WarmrouteError):  # it ends without a heartbeat
                    await context.sessions.close(session)
            raise
        return bool(opened)

    async def settled(
        self, session: str, ttl_s: float, within_s: float, entries: Sequence[Entry]
    ) -> None:
        """Wait until each model is ready or has failed, for `within_s` at most."""
        with_part = {context.cell for context, _ in self._split(entries)}

        async def settle(context: GatewayContext) -> None:
            if context.cell in with_part:
                await context.sessions.settled(session, ttl_s, within_s)

        await self._cells.all(settle, within_s=None)

    async def get(self, session: str) -> dict[str, Any]:
        """The session, and the state of each of its models; of those that answer."""
        answers, away = await self._cells.all(
            lambda context: context.sessions.get(session), optional=True
        )
        models = [row for document in answers.values() for row in document["models"]]
        return _merged(list(answers.values())) | {"models": models} | gap(away)

    async def keep(self, session: str, ttl_s: float | None) -> dict[str, Any]:
        """A heartbeat in each cell that has a part of it. NotFound if none has."""
        answers, away = await self._cells.all(
            lambda context: context.sessions.keep(session, ttl_s), optional=True
        )
        return _merged(list(answers.values())) | gap(away)

    async def close(self, session: str) -> None:
        """End every part. NotFound; of a cell that is away it ends without a heartbeat."""
        await self._cells.all(lambda context: context.sessions.close(session), optional=True)

    def _split(self, entries: Sequence[Entry]) -> Split:
        parts: dict[str, tuple[GatewayContext, list[Entry]]] = {}
        for entry in entries:
            context = self._cells.of_model(entry.ref.name)
            parts.setdefault(context.cell, (context, []))[1].append(entry)
        return list(parts.values())

    async def _refuse_other_models(self, session: str, entries: Sequence[Entry]) -> None:
        """KeyReused if the id is that of a session with other models, wherever they are."""
        try:
            open_now = await self.get(session)
        except NotFound:
            return
        there = {(row["name"], row["version"]) for row in open_now["models"]}
        if not there <= {(entry.ref.name, str(entry.ref.version)) for entry in entries}:
            raise KeyReused(f"id: session {session} is open, with other models")


def _merged(documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Without a heartbeat the first part to end ends the session."""
    first = documents[0]
    return {"id": first["id"], "expires_at": min(each["expires_at"] for each in documents)}
