"""Pages of the fleet as documents."""

from __future__ import annotations

from typing import Any

import msgspec

from router.fleet.fleet_pages import FleetPages, FleetQuery
from router.fleet.json_rows import JsonRows


class DecodedPages:
    """As `FleetPages`, whose lists are JSON."""

    def __init__(self, *given: Any) -> None:
        self._pages = FleetPages(*given)

    async def report(self, query: FleetQuery | None = None) -> dict[str, Any]:
        """The document of a page."""
        found = (await self._pages.report(query or FleetQuery())).document()
        return {
            name: msgspec.json.decode(b"".join(value.pieces))
            if isinstance(value, JsonRows)
            else value
            for name, value in found.items()
        }
