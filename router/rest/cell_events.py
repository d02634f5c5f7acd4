"""Pages of events of all cells, by the clock of each. With one cell they are its own.

A place in the logs of several cells is one place in each of them: `a.1700000000000-0,b.17...-3`. So
no event is missed, whatever the clocks of two Redis servers are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from router.events.pages import EventFilter, Page, parse_since
from router.rest.cells import Cells, gap
from router.rest.context import GatewayContext
from shared.errors import InvalidInput
from shared.events import START, Event, Position, id_of

PLACE = "since: want the `last` of a page, whose cells this gateway serves"

Row = tuple[Event, str]  # and its cell


class _Found(NamedTuple):
    """A cell's page, and where it began."""

    page: Page
    since: Position


async def events_page(
    cells: Cells, text: str | None, field: str, limit: int, accepts: EventFilter
) -> dict[str, Any]:
    """The document of GET /v2/events: the first `limit` events behind `text`, or the last ones of
    all without it."""
    places = _places(cells, text) if cells.many and text and "." in text else {}

    async def read(context: GatewayContext) -> _Found:
        if text is None:
            return _Found(await context.events.newest(limit, accepts), START)
        since = places.get(context.cell, START) if places else await since_of(context, text, field)
        return _Found(await context.events.after(since, limit, accepts), since)

    answers, away = await cells.all(read)
    if not cells.many:
        ((page, _),) = answers.values()
        events = [event.document() for event in page.events]
        return {"events": events, "last": id_of(page.position), "gap": page.gap}
    rows = sorted(
        ((event, cell) for cell, found in answers.items() for event in found.page.events),
        key=lambda row: (row[0].position, row[1]),
    )
    shown = rows[-limit:] if text is None else rows[:limit]
    # What is left of the newest events is older than the page; else it is on the next one.
    left = [] if text is None else rows[limit:]
    last = {cell: _end(cell, found, shown, left) for cell, found in answers.items()}
    last |= {cell: place for cell, place in places.items() if cell in away}
    return {
        "events": [{"cell": cell, **event.document()} for event, cell in shown],
        "last": ",".join(f"{cell}.{id_of(place)}" for cell, place in last.items()),
        "gap": any(found.page.gap for found in answers.values()),
    } | gap(away)


async def since_of(context: GatewayContext, text: str, field: str) -> Position:
    """A place in the log of one cell: an event's id, a time, or a time ago by its clock."""
    now_ms = await context.events.clock_ms() if text[-1:].isalpha() else 0
    return parse_since(text, now_ms, field)


def _places(cells: Cells, text: str) -> Mapping[str, Position]:
    """The places of a `last`; a cell that came later is read from its start."""
    found: dict[str, Position] = {}
    for item in text.split(","):
        cell, _, entry = item.partition(".")
        if cells.named(cell) is None:
            raise InvalidInput(PLACE)
        found[cell] = parse_since(entry, 0)
    return found


def _end(cell: str, found: _Found, shown: Sequence[Row], left: Sequence[Row]) -> Position:
    """Up to where a cell's log is on the page."""
    if all(other != cell for _, other in left):
        return found.page.position
    return max((event.position for event, other in shown if other == cell), default=found.since)
