"""What goes wrong in a schedule, drawn by its seed: each schedule drops half of the kinds of fault.

A fault strikes at a drawn moment of virtual time, so between any two callbacks of its victim. It is
counted only if it happened.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable, Collection

from tests.simulation import sickness
from tests.simulation.fleet import Fleet, SimWorker
from tests.simulation.gateway import SimGateway
from tests.simulation.process import Process
from tests.simulation.stopping import Stopper
from tests.simulation.world import LEASE_S, World

FENCED = "worker stopped until it is fenced"  # in schedules that are led to it
LOCAL = ("calls fail", "calls crash", "store forbids", "report lies", "bad version published")


class Nemesis:
    """Strikes until `heal`."""

    def __init__(
        self, world: World, fleet: Fleet, seed: int, only: Collection[str] = ()
    ) -> None:  # fmt: skip
        """`only`: these kinds of fault, whatever the seed draws."""
        self.world = world
        self.fleet = fleet
        self.dice = random.Random(f"{seed} faults")
        kinds = [kind for kind in self._kinds() if kind != FENCED]
        if self.dice.random() < 0.2:  # a sick worker or version beside others, and nothing else
            kinds = list(LOCAL)
        chosen = [kind for kind in kinds if self.dice.random() < 0.5]
        self._chosen = list(only) or chosen or [self.dice.choice(kinds)]
        self._gap_s = self.dice.choice([0.3, 1.0, 2.5])
        self._stopper = Stopper(world, self.dice, LEASE_S)
        self._task: asyncio.Task[None] | None = None

    def _kinds(self) -> dict[str, Callable[[], bool]]:
        return {
            "device process killed": self._kill_device,
            "worker killed": self._kill_worker,
            "parent killed": self._kill_parent,
            "gateway killed": self._kill_gateway,
            "process stopped": self._stop_process,
            FENCED: lambda: self._stop_process(self._stopper.stop_for_long),
            "gateway stopped": self._stop_gateway,
            "cut from Redis": self._cut,
            "lossy network": self._lossy,
            "slow network": self._slow,
            "Redis stalled": self._stall,
            "Redis refuses": self._refuse,
            "script cache lost": self._forget_scripts,
            "store down": self._store_down,
            "bad version published": self._publish,
            "worker drained": self._drain_worker,
            "gateway drained": self._drain_gateway,
            "id taken": self._take_id,
            "calls fail": lambda: self._sicken(sickness.ERRS),
            "calls crash": lambda: self._sicken(sickness.CRASHES),
            "store forbids": lambda: self._sicken(sickness.FORBIDDEN),
            "report lies": lambda: self._sicken(sickness.LIES),
            "clock jumped": self._jump,
        }

    def start(self) -> None:
        """Begin to strike."""
        self._task = self.world.loop.create_task(self._run(), context=self.world.network.context)

    def heal(self) -> None:
        """Strike no more, and undo what can be undone."""
        if self._task is not None:
            self._task.cancel()
        self._stopper.heal()
        weather = self.world.network.weather
        weather.lose_command = weather.lose_answer = weather.slow = 0.0
        weather.cut.clear()
        weather.refused_until = 0.0
        weather.stalled_until = self.world.store.down_until = 0.0
        self.world.blame.redis_back()
        self.world.sickness.heal()
        self.world.trace.note("-- healed --")

    async def _run(self) -> None:
        kinds = self._kinds()
        while True:
            await asyncio.sleep(self.dice.expovariate(1 / self._gap_s))
            kind = self.dice.choice(self._chosen)
            if kinds[kind]():
                self.world.faults[kind] += 1
                self.world.trace.note("**", kind)

    def _later(self, call: Callable[[], None], longest_s: float) -> None:
        """End a fault by itself, some below and some beyond a lease."""
        wait_s = self.dice.choice([0.3, LEASE_S, longest_s]) * self.dice.uniform(0.5, 1.5)
        self.world.network.at(self.world.loop.now + wait_s, call)

    # Processes ---------------------------------------------------------------------------------

    def _worker(self) -> SimWorker | None:
        alive = [worker for worker in self.fleet.workers if worker.parent.alive]
        return self.dice.choice(alive) if alive else None

    def _gateway(self) -> SimGateway | None:
        alive = [gateway for gateway in self.fleet.gateways if gateway.process.alive]
        return self.dice.choice(alive) if alive else None

    def _kill_device(self) -> bool:
        worker = self._worker()
        device = worker.device if worker else None
        if device is not None:
            device.kill()
        return device is not None

    def _kill_worker(self) -> bool:
        worker = self._worker()
        if worker is not None:
            worker.kill()
        return worker is not None

    def _kill_parent(self) -> bool:
        """Its device process is told so, drains and ends."""
        worker = self._worker()
        if worker is not None:
            worker.parent.kill()
        return worker is not None

    def _kill_gateway(self) -> bool:
        gateway = self._gateway()
        if gateway is not None:
            gateway.process.kill()
        return gateway is not None

    def _stop_process(self, stop: Callable[[SimWorker], None] | None = None) -> bool:
        worker = self._worker()
        if worker is not None:
            (stop or self._stopper.stop_worker)(worker)
        return worker is not None

    def _stop_gateway(self) -> bool:
        gateway = self._gateway()
        return self._stopper.stop([gateway.process] if gateway else [])

    def _drain_worker(self) -> bool:
        worker = self._worker()
        if worker is None or signal.SIGTERM not in worker.parent.handlers:
            return False
        worker.parent.signal(signal.SIGTERM)
        if self.dice.random() < 0.2:
            self._later(lambda: _again(worker.parent), 1.0)
        return True

    def _drain_gateway(self) -> bool:
        gateway = self._gateway()
        if gateway is None or not gateway.ready:
            return False
        gateway.process.signal(signal.SIGTERM)
        return True

    def _take_id(self) -> bool:
        """A second worker under an id that is in use. Both may live for a while."""
        worker = self._worker()
        if worker is None:
            return False
        at = self.fleet.workers.index(worker)
        self.fleet.workers[at] = SimWorker(self.world, worker.name)
        self.fleet.replaced.append(worker)
        return True

    # Everything else ---------------------------------------------------------------------------

    def _cut(self) -> bool:
        alive = [p for p in self.world.processes if p.alive]
        if not alive:
            return False
        for process in self.dice.sample(alive, min(len(alive), self.dice.choice([1, 1, 3]))):
            ends = self.dice.choice([0.5, LEASE_S, 3 * LEASE_S]) * self.dice.uniform(0.5, 1.5)
            self.world.network.weather.cut[process] = self.world.loop.now + ends
        return True

    def _lossy(self) -> bool:
        weather, chance = self.world.network.weather, self.dice.choice([0.02, 0.1, 0.3])
        if self.dice.random() < 0.5:
            weather.lose_command = chance
        else:
            weather.lose_answer = chance
        self._later(self._fair, LEASE_S)
        return True

    def _slow(self) -> bool:
        self.world.network.weather.slow = self.dice.choice([0.02, 0.1, 0.4])
        self._later(self._fair, LEASE_S)
        return True

    def _fair(self) -> None:
        weather = self.world.network.weather
        weather.lose_command = weather.lose_answer = weather.slow = 0.0

    def _stall(self) -> bool:
        until = self.world.loop.now + self.dice.uniform(0.2, 5)
        weather = self.world.network.weather
        weather.stalled_until = max(weather.stalled_until, until)
        self.world.blame.redis_away(until)
        return True

    def _refuse(self) -> bool:
        """What a replica says that has not been made the primary yet."""
        until = self.world.loop.now + self.dice.uniform(0.1, 4)
        weather = self.world.network.weather
        weather.refused_until = max(weather.refused_until, until)
        self.world.blame.redis_away(until)
        return True

    def _jump(self) -> bool:
        """Redis's clock is set, as after a failover to a host with another one."""
        seconds = self.dice.choice([-600.0, -60.0, -8.0, 2.0, 8.0, 60.0, 600.0])
        self.world.server.ahead_ms += round(seconds * 1000)
        self.world.history.waits.leapt(round(seconds * 1000))
        return True

    def _sicken(self, what: str) -> bool:
        """One worker, always the same in a schedule, for some seconds or to the end."""
        worker = self.fleet.workers[0].name
        self.world.sickness.strike(what, worker, self.dice.choice([1.0, 4.0, 60.0]))
        return True

    def _forget_scripts(self) -> bool:
        self.world.server.forget_scripts()
        return True

    def _publish(self) -> bool:
        """A newer version of a model, which cannot be loaded."""
        left = [name for name in ("small", "medium", "big") if name not in self.world.store.newer]
        if left:
            self.world.store.newer.add(self.dice.choice(left))
        return bool(left)

    def _store_down(self) -> bool:
        self.world.store.down_until = self.world.loop.now + self.dice.uniform(0.5, 6)
        return True


def _again(process: Process) -> None:
    if process.alive:
        process.signal(signal.SIGTERM)
