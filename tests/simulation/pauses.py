"""What a pause of a worker may cost.

S6  a request that still runs in a process, which pauses for less than its lease, is started
    elsewhere or charged, or that process is killed for it
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.process import Process
from tests.simulation.server import Ran

if TYPE_CHECKING:
    from tests.simulation.world import World

BLIND_S = 0.1


class Pauses:
    """The judge. It is told of a command after the history has followed it."""

    def __init__(self, world: World, lease_s: float) -> None:
        self._world = world
        self._lease_s = lease_s
        self._runs: dict[tuple[str, str], Process] = {}  # stream, entry -> who began it

    def runs(self, worker: str) -> bool:
        """Whether a request has begun on a worker, and has not ended."""
        stream = self._world.keys.work(worker)
        return any(key == stream for key, _ in self._runs)

    def ran(self, process: Process, ran: Ran) -> None:
        """A script has run."""
        for effect in ran.effects:
            kind, worker = self._world.history.split(effect.key)
            if kind == "started" and effect.command == "HSET":
                for entry in effect.fields:
                    self._runs[self._world.keys.work(worker), entry] = process
            elif kind == "work" and effect.command == "XDEL" and effect.answer == 1:
                runs = self._runs.pop((effect.key, effect.args[0]), None)
                if runs is not None and runs is not process:
                    self._taken(runs, worker, effect.args[0], ran)

    def _taken(self, runs: Process, worker: str, entry: str, ran: Ran) -> None:
        """An entry that had begun was deleted by another process than that which began it."""
        if ran.script not in ("reap", "fence_worker"):  # `register`: another took its id
            return
        silent_s = self._world.blame.silence_s(worker)
        if runs.alive and silent_s < self._lease_s - BLIND_S:
            self._violated(f"{ran.script} took {entry} from {runs}, silent for {silent_s:.2f} s")

    def ended(self, process: Process) -> None:
        """A device process has ended. One that was told to stop has its grace time only."""
        paused_s, parent = process.killed_in_pause_s, process.peer
        if paused_s is None or (parent is not None and parent.told_to_stop):
            return
        if paused_s < self._lease_s - BLIND_S:
            self._violated(f"{process} was killed by its parent in a pause of {paused_s:.2f} s")

    def _violated(self, text: str) -> None:
        self._world.history.violated(f"S6: {text}")
