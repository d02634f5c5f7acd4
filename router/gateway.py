"""The composition root of a gateway: builds its services, starts and stops them in order.

A door is wired in one line: `rest` gets `contexts()`, `stream` a loop of each cell (cell.py),
another one an `intake`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence

from router.catalog.catalog import LOOK_AT_INDEX_S, WALK_EVERY_S, Catalog
from router.catalog.cell_map import CellMap
from router.catalog.fleet_versions import FleetVersions
from router.catalog.shares import Shares
from router.catalog.versions import LoadedVersions
from router.cell import Cell, Shared
from router.cell_links import CellLinks
from router.cell_starts import CellStarts, Member
from router.fleet.fleet_health import FleetHealth
from router.requests.hand_over import FleetHandover
from router.requests.intake import Admission
from router.requests.shared_memory import HeldBytes
from router.rest.cells import Cells
from router.v2.json_processes import JsonProcesses
from shared.config import RouterConfig
from shared.repository import open_repository
from shared.service import Loop, Supervisor

SMALL_BODIES_BYTES = 64 << 20  # of all calls at a time, but those of models


class Gateway:
    """One gateway without its sockets, over one cell or several."""

    def __init__(self, config: RouterConfig) -> None:
        self.config = config
        self.id = "gw-" + secrets.token_hex(6)
        self._map = CellMap(config.cells)
        self._links = {address.name: CellLinks(address) for address in config.cells}
        self._repository = open_repository(config.model_repository, **config.store_options)
        self._processes = JsonProcesses()
        self._catalog = Catalog(self._repository, config.catalog_ttl_s, self._versions())
        # One look at the repository is for all cells.
        self._supervisor = Supervisor(
            [
                Loop("index", self._catalog.look_once, LOOK_AT_INDEX_S),
                Loop("listing", self._catalog.walk_once, WALK_EVERY_S),
            ]
        )
        shared = self._shared()
        members = [Member(links, Cell(links, shared)) for links in self._links.values()]
        self._cells = [member.cell for member in members]
        self._starts = CellStarts(members, config)

    def contexts(self) -> Cells:
        """The services that HTTP endpoints call, by cell."""
        cells = {cell.name: cell.health for cell in self._cells}
        health = FleetHealth(cells, self._supervisor)
        handovers = [cell.handover for cell in self._cells]
        handover = FleetHandover(handovers) if len(handovers) > 1 else handovers[0]
        return Cells(self._map, [cell.context(health, handover) for cell in self._cells])

    async def start(self) -> None:
        """Check the repository and each Redis, take the leases; then read."""
        await asyncio.to_thread(self._repository.check)
        await self._starts.start()
        self._supervisor.start()

    async def stop(self) -> None:
        """Loops end first, Redis last."""
        await self._supervisor.stop()
        await self._starts.stop()
        await self._processes.stop()

    def _shared(self) -> Shared:
        config = self.config
        return Shared(
            config=config,
            gateway=self.id,
            cells=self._map,
            catalog=self._catalog,
            shares=Shares(self._catalog.latest, self._map),
            processes=self._processes,
            admission=Admission(config.max_waiting, config.max_bodies_bytes),
            small=Admission(config.max_waiting, SMALL_BODIES_BYTES),
            held=HeldBytes(),
        )

    def _versions(self) -> LoadedVersions:
        if len(self._links) == 1:
            return next(iter(self._links.values())).loaded
        return FleetVersions(self._versions_of)

    def _versions_of(self, name: str) -> Sequence[LoadedVersions]:
        return [self._links[cell].loaded for cell in self._map.owners(name)]
