"""Control runs: each kind of fault aimed at something else, which its verification must notice.

What is hit instead is of the same kind: a process, a Redis and a link that nobody uses, and a
model that takes the same input without harm.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from deploy.local.process_tree import descendants
from deploy.local.processes import start
from deploy.local.redis_server import RedisServer, start_redis
from tests.chaos.faults import network, processes
from tests.chaos.faults import redis as of_redis
from tests.chaos.faults.base import Fault, NotVerified
from tests.chaos.faults.poison import Poison
from tests.chaos.faults.sickness import SICKNESSES, Sickness, impossible
from tests.chaos.ground import Ground, open_client
from tests.chaos.history import History
from tests.chaos.links import Link
from tests.chaos.slot import Slot
from tests.helpers.pair import Process

PATIENCE_S = 1.0
OfSlot = type[processes.ProcessFault] | type[Sickness]
# A parent and its child, which ends with it.
_DECOY = """
import os, time
parent = os.getpid()
if os.fork() == 0:
    while os.getppid() == parent: time.sleep(0.05)
else:
    time.sleep(600)
"""


class DecoySlot(Slot):
    """Looks like a worker from outside, and does nothing."""

    def start(self) -> None:
        command = [sys.executable, "-c", _DECOY]
        child = start(command, name=self.name, log=self.stack.folder / f"{self.name}.log")
        self.process = Process(self.name, child)
        while not descendants(child.pid):
            pass

    def await_ready(self, within_s: float = 0.0) -> None:
        """Nobody needs it again."""
        self.kill()


class DecoyRedis:
    """A Redis that nobody uses."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server: RedisServer = start_redis(folder)
        self.redis: redis.Redis = open_client(self._server.url)

    @property
    def redis_url(self) -> str:
        return self._server.url

    @property
    def redis_port(self) -> int:
        return int(self._server.url.rpartition(":")[2].partition("/")[0])

    def kill_redis(self) -> None:
        self._server.child.kill()

    def start_redis_again(self) -> None:
        self._server = start_redis(self._folder, port=self.redis_port)

    def close(self) -> None:
        self.redis.close()
        self._server.stop()


@dataclass(frozen=True)
class Yard:
    """A ground, and what is hit instead of it."""

    ground: Ground
    redis: DecoyRedis
    link: Link
    history: History

    def decoy(self) -> Slot:
        """A fresh pair of processes."""
        ground = self.ground
        slot = DecoySlot("decoy", "", ground.stack, ground.redis, self.link)
        slot.start()
        return slot


def _of_slot(way: OfSlot, kind: str) -> Callable[[Yard], Fault]:
    return lambda yard: way(yard.ground, getattr(yard.ground, kind)[0], yard.decoy())


def _of_redis(way: type[of_redis.RedisFault]) -> Callable[[Yard], Fault]:
    return lambda yard: way(yard.ground, yard.ground, yard.redis)


CONTROLS: Mapping[str, Callable[[Yard], Fault]] = {
    **{
        way.kind: _of_slot(way, "workers")
        for way in (
            processes.KillDevice, processes.KillWorker, processes.StopWorker,
            processes.TerminateWorker, *SICKNESSES,
        )
    },
    **{
        way.kind: _of_slot(way, "gateways")
        for way in (processes.KillGateway, processes.TerminateGateway)
    },
    **{
        way.kind: _of_redis(way)
        for way in (
            of_redis.RestartRedis, of_redis.LoseRedis, of_redis.KillClients, of_redis.PauseClients,
            of_redis.FlushScripts,
        )
    },
    network.CutWorker.kind: lambda y: network.CutWorker(y.ground, y.ground.workers[0], y.link),
    network.DarkWorker.kind: lambda y: network.DarkWorker(y.ground, y.ground.workers[0], y.link),
    network.SlowWorker.kind: lambda y: network.SlowWorker(y.ground, y.ground.workers[0], y.link),
    network.CutGateway.kind: lambda y: network.CutGateway(y.ground, y.ground.gateways[0], y.link),
    network.CutStore.kind: lambda y: network.CutStore(y.ground, y.ground.s3_link, y.link),
    Poison.kind: lambda y: Poison(y.ground, y.ground.zoo.fragile, y.history, y.ground.zoo.plain[0]),
}  # fmt: skip


@contextmanager
def open_yard(folder: Path) -> Iterator[Yard]:
    """One of each, running."""
    with Ground(folder, workers=1, gateways=1) as ground:
        ground.start()
        decoy = DecoyRedis(folder / "decoy")
        try:
            with History(folder / "history.jsonl") as history:
                yield Yard(ground, decoy, ground.links.to(decoy.redis_url), history)
        finally:
            decoy.close()


def noticed(yard: Yard, kind: str) -> str:
    """Why the verification failed; '' if it passed, which it must not."""
    fault = CONTROLS[kind](yard)
    fault.patience_s = PATIENCE_S
    if isinstance(fault, network.LinkFault):
        fault.hold_s = PATIENCE_S
    try:
        fault.inject()
        fault.verify()
    except NotVerified as error:
        return str(error)
    finally:
        fault.heal()
    return ""


def run_controls(folder: Path) -> list[str]:
    """All of them; those that were not noticed."""
    missed = []
    with open_yard(folder) as yard:
        for kind in (each for each in CONTROLS if each not in impossible(folder)):
            why = noticed(yard, kind)
            if not why:
                missed.append(f"{kind} hit something else, and was verified all the same")
            print(f"  {kind:<28} {'noticed: ' + why if why else 'NOT NOTICED'}", flush=True)
    print(f"{len(CONTROLS)} control runs, {len(missed)} not noticed")
    return missed
