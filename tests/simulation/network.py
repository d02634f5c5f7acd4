"""The network between the simulated processes and Redis: delays, losses, cut connections.

A command is one instant at the server, after a drawn delay; its answer is another at the process,
after one more. What lies between a cut and the server is lost, what lies between the server and a
cut has happened, and nobody was told. Commands of one connection keep their order.
"""

from __future__ import annotations

import contextvars
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.simulation.loop import PROCESS, SimLoop
from tests.simulation.process import Process
from tests.simulation.server import Ran, SimRedis

if TYPE_CHECKING:
    from tests.simulation.link import Command
    from tests.simulation.sickness import Sickness


WAKING = ("XADD", "RPUSH", "DEL", "EXPIRED")  # what a blocking read may wait for


@dataclass
class Weather:
    """How bad the network is just now. Chances are per command."""

    lose_command: float = 0.0
    lose_answer: float = 0.0
    slow: float = 0.0  # chance that a delay is 50 to 1500 ms
    stalled_until: float = 0.0  # Redis does nothing before
    refused_until: float = 0.0  # it is a replica before, and writes nothing
    cut: dict[Process, float] = field(default_factory=dict)  # black holes, until when


class Network:
    """Delays and faults of every connection, and the readers that wait at the server."""

    def __init__(self, loop: SimLoop, server: SimRedis, dice: random.Random) -> None:
        self.loop = loop
        self.server = server
        self.dice = dice
        self.weather = Weather()
        self.faults: Counter[str] = Counter()
        self.happened: Callable[[Process, tuple[Any, ...], Ran], None] = lambda *_: None
        self.raised: Callable[[Process, tuple[Any, ...], Exception], None] = lambda *_: None
        self.sickness: Sickness | None = None
        self.waiting: list[Command] = []
        self.context = contextvars.copy_context()  # outside of every process
        self.context.run(PROCESS.set, None)

    def delay(self) -> float:
        """Seconds of one way."""
        if self.weather.slow and self.dice.random() < self.weather.slow:
            return self.dice.uniform(0.05, 1.5)
        return 0.0001 + self.dice.expovariate(2000)

    def at(self, when: float, call: Callable[..., None], *args: Any) -> Any:
        """Something that happens to no process in particular."""
        return self.loop.call_at(when, call, *args, context=self.context)

    def is_cut(self, process: Process) -> bool:
        """Whether nothing passes between this process and Redis."""
        return self.weather.cut.get(process, 0.0) > self.loop.now

    def strikes(self, chance: float, fault: str) -> bool:
        """Draw whether a fault happens, and count it."""
        if not chance or self.dice.random() >= chance:
            return False
        self.faults[fault] += 1
        return True

    def changed(self, ran: Ran) -> None:
        """Wake the readers of streams and lists that a command added to or deleted."""
        self.wake(*(e.key for e in ran.effects if e.command in WAKING))

    def wake(self, *keys: str) -> None:
        """Have the readers of these streams look again."""
        woken = [command for command in self.waiting if not {*keys}.isdisjoint(command.keys)]
        for command in woken:
            self.waiting.remove(command)
            self.loop.call_soon(command.execute, context=self.context)
