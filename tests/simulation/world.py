"""One simulated cell: its processes, its network, its store, and what is written down about it."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import deque
from collections.abc import Mapping
from typing import Any

import redis.exceptions

from router.requests.waiters import HandedOver
from shared import config as settings
from shared.config import WorkerConfig
from shared.errors import WarmrouteError
from shared.keys import Keys
from tests.simulation import zoo
from tests.simulation.blame import Blame
from tests.simulation.history import History
from tests.simulation.lane import Crashed
from tests.simulation.link import SimChannel
from tests.simulation.loop import START_S, SimLoop
from tests.simulation.network import Network
from tests.simulation.parts import Line, SimProgress
from tests.simulation.pauses import Pauses
from tests.simulation.process import Process
from tests.simulation.served import Served
from tests.simulation.server import Effect, Ran, SimRedis
from tests.simulation.shares import Shares
from tests.simulation.sickness import Sickness
from tests.simulation.versions import Versions
from tests.simulation.wanted import Wanted
from tests.simulation.wellness import Wellness

CELL = "sim"
LEASE_S = 3.0
KEPT_LINES = 600
IDLE: dict[str, list[Any]] = {
    "reap": [None, []], "sweep": [[0, 0, 0, []]], "heartbeat": [[b"ok"]], "renew_lease": [1],
    "reconcile": [[0, 0, []]], "drop_kept": [[0, 0]],
}  # fmt: skip


class Trace:
    """What happened, line by line: a hash of all of it, and the last lines to be shown."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self._hash = hashlib.blake2b(digest_size=12)
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)

    def note(self, *words: object, idle: bool = False) -> None:
        """One event, now. What is idle counts, but is not shown."""
        line = f"{self._loop.now - START_S:9.4f} " + " ".join(str(word) for word in words)
        self._hash.update(line.encode())
        if not idle:
            self.lines.append(line)

    @property
    def digest(self) -> str:
        """Equal for equal schedules."""
        return self._hash.hexdigest()


class World:
    """Everything of one schedule. `dice` is for what the environment decides."""

    redis_errors = (redis.exceptions.RedisError,)

    def __init__(self, seed: int, server: SimRedis) -> None:
        self.seed = seed
        self.loop = SimLoop(random.Random(f"{seed} order"))
        self.dice = random.Random(f"{seed} world")
        self.keys = Keys(CELL)
        self.trace = Trace(self.loop)
        self.network = Network(self.loop, server, random.Random(f"{seed} network"))
        self.faults = self.network.faults
        self.server = server
        server.begin(lambda: self.loop.now)
        self.history = History(
            self.keys, LEASE_S, lambda: server.true_ms, lambda: server.cell_ms(self.keys)
        )
        self.blame = Blame(self, LEASE_S)
        self.wellness = Wellness(self)
        self.served = Served(self)
        self.shares = Shares(self)
        self.pauses = Pauses(self, LEASE_S)
        self.versions = Versions(self)
        self.wanted = Wanted(self)
        self.sickness = Sickness(self.loop, random.Random(f"{seed} sickness"))
        self.network.happened = self._happened
        self.network.raised = self._script_raised
        self.network.sickness = self.sickness
        self.store = zoo.Store(self.loop, self.sickness, faults=self.faults)
        self.processes: list[Process] = []
        self.log_limited: set[str] = set()  # models of which more failed than is told line by line
        self.logged: set[str] = set()  # requests whose failure a log tells, with its cause
        self.loop.draw_work = lambda: self.dice.expovariate(500)
        self.loop.set_exception_handler(self._raised)

    # What the parts ask for --------------------------------------------------------------------

    def monotonic(self) -> float:
        """Every process's clock; it goes on while a call computes."""
        return self.loop.now + (self.loop.work_s or 0.0)

    def channel(self) -> SimChannel:
        """A connection of the process that asks."""
        return SimChannel(self.network)

    def new_process(self, name: str) -> Process:
        """A process that has not begun."""
        process = Process(self.loop, name, len(self.processes) + 1)
        self.processes.append(process)
        return process

    def run_device(
        self, process: Process, env: Mapping[str, str], line: Line, progress: SimProgress
    ) -> None:
        """Begin a device process, as `python -m worker.process` does."""
        import worker.process as module

        parent = process.peer.serial if process.peer else 0

        async def main() -> None:
            config = settings.read(WorkerConfig, env)
            try:
                await module._run(config, parent, line, progress)  # type: ignore[arg-type]
            except WarmrouteError as error:
                self.trace.note(process, "cannot start:", error.message)
                process.exit(2)
            except Crashed:
                raise
            except Exception as error:
                self.history.violated(f"{process} raised {error!r}")
                process.exit(1)

        process.start(main())
        process.ended.append(lambda: self.blame.died(process, process.models))
        process.ended.append(lambda: self.pauses.ended(process))

    def watch(self, what: str, model: zoo.Model) -> None:
        """A model is loaded, run or freed."""
        from tests.simulation.parts import here

        process = here()
        self.trace.note(process, what, model.ref)
        self.history.model(what, model, process)

    def answered(self, process: Process, entry: str) -> None:
        """The outcome of an entry is on its way from a worker to Redis."""
        self.history.loads.answered(process, entry)

    # What is written down ----------------------------------------------------------------------

    def _happened(self, process: Process, args: tuple[Any, ...], ran: Ran) -> None:
        if ran.script or ran.reply or ran.effects:
            said = ran.script or " ".join(str(arg) for arg in args[:4])
            idle = ran.script in IDLE and ran.reply in IDLE[ran.script]
            self.trace.note(process, said, _brief(ran.reply), _changes(ran), idle=idle)
        self.history.ran(process, args, ran, self.server.true_ms)
        self.wellness.observe()
        self.pauses.ran(process, ran)
        self.blame.ran(args, ran)
        self.served.ran(args, ran)
        self.shares.ran(args, ran)
        self.versions.ran(process, args, ran)

    def _script_raised(self, process: Process, args: tuple[Any, ...], error: Exception) -> None:
        """A script is not undone when it raises half-way."""
        name = self.server.name_of(args)
        self.history.violated(f"I9: {name} of {process} raised {error}")

    def _raised(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """asyncio's last resort: an exception that nobody awaited."""
        error = context.get("exception")
        foreseen = (WarmrouteError, HandedOver, redis.exceptions.RedisError, Crashed)
        if isinstance(error, foreseen):
            return
        self.history.violated(f"unhandled: {context.get('message')}: {error!r}")


def _brief(reply: Any) -> str:
    text = repr(reply)
    return (
        text
        if len(text) < 160
        else f"{text[:140]}... {hashlib.sha1(text.encode()).hexdigest()[:8]}"
    )


def _changes(ran: Ran) -> str:
    return " ".join(_change(effect) for effect in ran.effects if not effect.key.endswith(":none"))


def _change(effect: Effect) -> str:
    key = effect.key.partition(":")[2]
    what = effect.answer if effect.command == "XADD" else " ".join(effect.args[:2])
    return f"[{effect.command} {key[:50]} {what}]"
