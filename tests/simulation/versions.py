"""What a new version may cost those who ask for none.

S10  a request without a version goes to one that was never loaded, though an older one is loaded
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.simulation.process import Process
from tests.simulation.served import rows
from tests.simulation.server import Ran

if TYPE_CHECKING:
    from tests.simulation.world import World

SEEN_S = 2.5  # by then every gateway has read again what is loaded (`WARMROUTE_CATALOG_TTL_S`)


class Versions:
    """The judge. Nobody asks for a version here, and version 2 of no model can be loaded."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._live: dict[str, float] = {}  # model -> since when its version 1 is loaded

    def ran(self, process: Process, args: tuple[Any, ...], ran: Ran) -> None:
        """A script has run."""
        for effect in ran.effects:
            kind, name = self._world.history.split(effect.key)
            if kind != "loaded_versions":
                continue
            if effect.command == "HSET" and "1" in effect.fields:
                self._live.setdefault(name, self._world.loop.now)
            elif effect.command == "DEL" or (effect.command == "HDEL" and "1" in effect.args):
                self._live.pop(name, None)
        if ran.script == "place":
            self._placed(process, args, ran)

    def forget_all(self) -> None:
        """Redis lost everything."""
        self._live.clear()

    def _placed(self, process: Process, args: tuple[Any, ...], ran: Ran) -> None:
        now = self._world.loop.now
        seen = self._world.wellness.seconds(process) > SEEN_S
        for item, status, _ in rows(args, ran):
            name, version, _ = item.ref.split(":")
            if seen and version == "2" and now - self._live.get(name, now) > SEEN_S:
                self._world.history.violated(f"S10: {item.id} is {status} for {item.ref}")
