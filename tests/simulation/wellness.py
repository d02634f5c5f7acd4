"""Which processes have nothing wrong with them, and since when: what was done to them here.

Nothing here is told by the product's own health, which may be wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.process import Process

if TYPE_CHECKING:
    from tests.simulation.world import World


class Wellness:
    """Looks at every command; between two of them nobody could be served."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._since: dict[Process, float] = {}

    def observe(self) -> None:
        """Look at every process now."""
        now = self._world.loop.now
        if not self._fair():
            self._since.clear()
            return
        sound = [process for process in self._world.processes if self._sound(process)]
        self._since = {process: self._since.get(process, now) for process in sound}

    def seconds(self, process: Process | None) -> float:
        """How long nothing has been wrong with this process, or between it and Redis."""
        now = self._world.loop.now
        return now - self._since.get(process, now) if process is not None else 0.0

    def well(self, seconds: float) -> set[str]:
        """Workers with which nothing was wrong for so long, and that serve."""
        epochs = self._world.history.loads.epochs
        return {name for name, process in epochs.items() if self.seconds(process) > seconds}

    def _fair(self) -> bool:
        """Whether Redis, the store and the network are as they should be."""
        weather, now = self._world.network.weather, self._world.loop.now
        away = max(weather.stalled_until, weather.refused_until, self._world.store.down_until)
        return away < now and not (weather.slow or weather.lose_command or weather.lose_answer)

    def _sound(self, process: Process) -> bool:
        if not process.alive:
            return False
        both = [process, *([process.peer] if process.peer else [])]
        if any(not one.alive or one.paused or one.told_to_stop for one in both):
            return False
        worker = process.name.partition("/")[0]
        cut = self._world.network.is_cut(process)
        return not cut and not self._world.sickness.has_any(worker)
