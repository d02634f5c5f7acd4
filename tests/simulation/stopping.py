"""Stops processes (SIGSTOP) for a while, if need be at a moment in which they run something."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.simulation.fleet import SimWorker
from tests.simulation.process import Process

if TYPE_CHECKING:
    from tests.simulation.world import World

AWAIT_S, LOOK_S = 1.0, 0.004  # for work to begin, and between two looks
GONE_LEASES = 1.5  # then it was reaped


class Stopper:
    """Each pause ends by itself: some end before a lease is over, some after."""

    def __init__(self, world: World, dice: random.Random, lease_s: float) -> None:
        self._world = world
        self._dice = dice
        self._lease_s = lease_s
        self._stopped: list[Process] = []
        self._over = False

    def heal(self) -> None:
        """All go on, and nobody is stopped any more."""
        self._over = True
        for process in self._stopped:
            process.carry_on()

    def stop(self, victims: list[Process | None], leases: float = 0.0) -> bool:
        """Whether one was stopped, for so many leases; 0: drawn."""
        if self._over:
            return False
        stopped = [p for p in victims if p is not None and p.alive and not p.paused]
        for process in stopped:
            process.pause()
            self._stopped.append(process)
            wait_s = leases * self._lease_s or self._drawn_s()
            self._world.network.at(self._world.loop.now + wait_s, process.carry_on)
        return bool(stopped)

    def _drawn_s(self) -> float:
        wait_s = self._dice.choice([0.3, self._lease_s, 2.5 * self._lease_s])
        return wait_s * self._dice.uniform(0.5, 1.5)

    def stop_for_long(self, worker: SimWorker) -> None:
        """All of it while it runs something, until others have its requests."""
        self._await_work(worker, True, self._world.loop.now + AWAIT_S, GONE_LEASES)

    def stop_worker(self, worker: SimWorker) -> None:
        """The device process alone, or with its parent; often while it runs something."""
        both = self._dice.random() < 0.3
        patience_s = AWAIT_S if self._dice.random() < 0.5 else 0.0
        self._await_work(worker, both, self._world.loop.now + patience_s)

    def _await_work(self, worker: SimWorker, both: bool, until: float, leases: float = 0.0) -> None:
        now = self._world.loop.now
        if now < until and not self._world.pauses.runs(worker.name):
            self._world.network.at(now + LOOK_S, self._await_work, worker, both, until, leases)
        else:
            self.stop([worker.device, *([worker.parent] if both else [])], leases)
