"""Which faults when: two lanes at once, each a shuffled deck of kinds, by one seed.

A lane waits for its fault to be healed before it goes on, and the lanes do not wait for each
other: a worker may be killed while Redis restarts. One lane has what happens to workers, the other
all else, so that no two faults want to heal the same process.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.chaos.faults.base import Fault
from tests.chaos.faults.network import CutGateway, CutStore, CutWorker, DarkWorker, SlowWorker
from tests.chaos.faults.poison import Poison
from tests.chaos.faults.processes import (
    KillDevice,
    KillGateway,
    KillWorker,
    StopWorker,
    TerminateGateway,
    TerminateWorker,
)
from tests.chaos.faults.redis import (
    FlushScripts,
    KillClients,
    LoseRedis,
    PauseClients,
    RestartRedis,
)
from tests.chaos.faults.sickness import possible
from tests.chaos.ground import Ground
from tests.chaos.history import History
from tests.chaos.slot import Slot

log = logging.getLogger(__name__)
Make = Callable[[random.Random], Fault]
SETTLE_S = (0.2, 1.0)


@dataclass(frozen=True)
class Injected:
    """A fault that was injected. `wrong` says what its verification missed; '' if nothing."""

    kind: str
    kills: bool
    begun: float
    healed: float
    wrong: str


def worker_faults(ground: Ground, history: History) -> list[Make]:
    """What happens to workers."""
    ways = (
        KillDevice, KillWorker, StopWorker, TerminateWorker, CutWorker, DarkWorker, SlowWorker,
        *possible(ground.folder),
    )  # fmt: skip
    return [
        *(lambda dice, way=way: way(ground, dice.choice(ground.workers)) for way in ways),
        lambda dice: Poison(ground, ground.zoo.fragile, history),
    ]


def other_faults(ground: Ground) -> list[Make]:
    """What happens to gateways, Redis and S3."""
    to_gateway = (KillGateway, TerminateGateway, CutGateway)
    to_redis = (RestartRedis, LoseRedis, KillClients, PauseClients, FlushScripts)
    return [
        *(lambda dice, way=way: way(ground, dice.choice(ground.gateways)) for way in to_gateway),
        *(lambda dice, way=way: way(ground, ground) for way in to_redis),
        lambda dice: CutStore(ground, ground.s3_link),
    ]


def killing(ground: Ground) -> tuple[list[Make], list[Make]]:
    """Only faults by which a process dies, for the two lanes."""
    return (
        [
            *[lambda dice: KillDevice(ground, dice.choice(ground.workers))] * 2,
            lambda dice: KillWorker(ground, dice.choice(ground.workers)),
        ],
        [
            *[lambda dice: KillGateway(ground, dice.choice(ground.gateways))] * 3,
            lambda dice: RestartRedis(ground, ground),
        ],
    )


@dataclass
class Lane:
    """Injects one fault after the other until told to stop."""

    name: str
    decks: list[Make]
    slots: list[Slot]  # which nobody but this lane ends
    seed: int
    history: History
    stopping: threading.Event
    injected: list[Injected] = field(default_factory=list)

    def run(self) -> None:
        """Ends after the fault that is under way when `stopping` is set."""
        dice = random.Random(f"{self.seed} {self.name}")
        deck: list[Make] = []
        while not self.stopping.is_set():
            if not deck:
                deck = dice.sample(self.decks, len(self.decks))
            self._note_dead()
            self._inject(deck.pop()(dice))
            self.stopping.wait(dice.uniform(*SETTLE_S))

    def _note_dead(self) -> None:
        """Nothing of ours is under way, so all should be there."""
        for slot in self.slots:
            if slot.process is not None and not slot.running:
                now, status = self.history.now(), slot.process.child.returncode
                wrong = f"{slot.name} ended by itself with status {status}"
                self.injected.append(Injected("none", False, now, now, wrong))
                slot.await_ready()

    def _inject(self, fault: Fault) -> None:
        begun, wrong = self.history.now(), []
        log.info("%6.1f %s", begun, fault.kind)
        for step in (fault.inject, fault.verify, fault.heal, fault.verify_healed):
            try:
                step()
            except Exception as error:  # a fault that fails must still be healed, and be told of
                wrong.append(f"{step.__name__}: {type(error).__name__}: {error}")
        healed = self.history.now()
        self.injected.append(Injected(fault.kind, fault.kills, begun, healed, "; ".join(wrong)))
        log.info("%6.1f %s healed %s", healed, fault.kind, wrong or "")


def run_lanes(lanes: list[Lane], enough: Callable[[], bool]) -> list[Injected]:
    """Run all lanes until `enough()`; what they injected, in order."""
    with ThreadPoolExecutor(len(lanes)) as threads:
        running = [threads.submit(lane.run) for lane in lanes]
        try:
            while not enough() and not any(lane.done() for lane in running):
                time.sleep(0.1)
        finally:
            lanes[0].stopping.set()
        for each in running:
            each.result()
    return sorted((each for lane in lanes for each in lane.injected), key=lambda each: each.begun)
