"""What the flood of one model may cost its neighbours.

S7  a request is refused for a limit that its own model has not reached
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.simulation.loads import ARGS
from tests.simulation.served import rows
from tests.simulation.server import Ran

if TYPE_CHECKING:
    from tests.simulation.world import World

STREAM = 4  # times the limit of one model: the limit of the whole stream


class Shares:
    """The judge. It is told of a command after the history has followed it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def ran(self, args: tuple[Any, ...], ran: Ran) -> None:
        """A script has run."""
        if ran.script == "place":
            work, parked = int(args[ARGS]), int(args[ARGS + 1])
            for item, status, detail in rows(args, ran):
                if status == "full" and detail == "work":
                    self._full(item.ref, item.id, work)
                elif status == "full" and detail == "parked":
                    self._parked_full(item.ref, item.id, parked)

    # S7 ----------------------------------------------------------------------------------------

    def _full(self, ref: str, request: str, limit: int) -> None:
        """Counted when the whole call is over: it adds and takes nothing away."""
        for worker in self._world.blame.healthy_holders(ref):
            there = self._on(self._world.keys.work(worker))
            if there.count(ref) < limit and len(there) < STREAM * limit:
                self._world.history.violated(
                    f"S7: {request} is refused, {worker} has {there.count(ref)} of {ref} among "
                    f"{len(there)}"
                )

    def _parked_full(self, ref: str, request: str, limit: int) -> None:
        there = self._on(self._world.keys.parked(ref))
        if len(there) < limit:
            self._world.history.violated(f"S7: {request} is refused, {len(there)} of {ref} wait")

    def _on(self, stream: str) -> list[str]:
        entries = self._world.history.entries.items()
        return [request.ref for (key, _), request in entries if key == stream]
