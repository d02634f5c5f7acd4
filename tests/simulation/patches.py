"""Puts the simulation's parts in the place of the real ones, wherever a module has imported them.

Found by identity in the modules of the product, so a module that moves needs no change here.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import random
import re
import secrets
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import worker.app  # the product imports it late: its names must be there before
import worker.process
from shared.channel import Channel
from shared.connection import open_redis
from shared.errors import WarmrouteError
from shared.redis_check import check_redis
from shared.redis_kind import check_kind
from shared.repository import open_repository
from shared.shared_memory import open_shared_memory
from tests.simulation import parts, zoo
from tests.simulation.device_thread import SimDeviceThread, taking_up
from tests.simulation.loop import PROCESS
from worker.device.opening import open_device
from worker.device.self_test import SelfTest
from worker.device.shared_host import SharedHost
from worker.device.thread import DeviceThread
from worker.health.checks import LoadChecks
from worker.heartbeat import HeartbeatThread
from worker.residency.ledger import Ledger
from worker.runtimes.base import load
from worker.serving.batch_start import BatchStart
from worker.serving.completions import Completions
from worker.supervisor.child import Child
from worker.supervisor.gpu_claim import candidates
from worker.supervisor.link import Link
from worker.supervisor.progress import Progress
from worker.weight_cache.cache import BlobCache
from worker.weight_cache.root import open_root

if TYPE_CHECKING:
    from tests.simulation.world import World

MORE_FAILED = re.compile(r"\d+ more requests of model (\w+) failed")
FAILED = re.compile(r"request (\w+) failed: .*cause=.")
# What the product itself asserts, by the rule that it keeps.
ASSERTED = {
    "I19": "I19: ", "reserved over the budget": "I19: ",
    "a queue with requests was closed": "I18: ",
}  # fmt: skip


class NoRedis:
    """redis-py's client, for the few questions that the hot path does not ask."""

    async def ping(self) -> bool:
        return True

    async def aclose(self) -> None:
        """Nothing was opened."""


class Links:
    """`Link` of the device process: its line is there already."""

    @staticmethod
    async def open(line: Any) -> Any:
        return line


async def no_warnings(client: Any, url: str, **given: Any) -> list[str]:
    """`check_redis` of a Redis that is all right."""
    return []


async def one_primary(*given: Any) -> None:
    """`check_kind` of a Redis that is one primary."""


class SoundDevice:
    """`SelfTest` of a device that computes."""

    def __init__(self, *given: Any) -> None: ...

    def run(self) -> str:
        return ""


class NoChecks:
    """`LoadChecks` of a host whose disk and store work: only real loads fail here."""

    async def run(self) -> dict[str, str]:
        return {}


def made_up_device(*given: Any, **named: Any) -> zoo.Device:
    """`open_device` of a device that no other worker can have."""
    return zoo.Device()


class LoneHost:
    """`SharedHost` of a worker that has its host for itself, and no entry among the real ones."""

    def __init__(self, *given: Any) -> None:
        """Nothing is looked up."""

    def memory(self) -> int:
        return zoo.BUDGET

    def disk(self, used: int) -> int:
        return 1 << 40

    def misfit(self) -> str:
        return ""

    def leave(self) -> None:
        """It never joined."""


async def no_gpus(*given: Any) -> list[Any]:
    """`candidates` of a host without any."""
    return []


class Logs(logging.Handler):
    """Warnings go to the trace; an exception that nobody foresaw is a violation."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.WARNING)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        process = PROCESS.get()
        self._world.trace.note(process, record.levelname, record.getMessage())
        self._world.log_limited.update(MORE_FAILED.findall(record.getMessage()))
        self._world.logged.update(FAILED.findall(record.getMessage()))
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, WarmrouteError):
            where = "".join(traceback.format_exception(error, limit=-4))
            rule = next((rule for text, rule in ASSERTED.items() if text in str(error)), "")
            self._world.history.violated(f"{rule}{process} logged {record.getMessage()}: {where}")


def _replacements(world: World) -> list[tuple[Any, Any]]:
    def cache(*given: Any) -> zoo.Cache:
        return zoo.Cache(world.store, world.dice)

    def load_here(manifest: Any, files: Any, device: Any, trust: Any) -> zoo.Model:
        return zoo.load(manifest, world.dice, world.watch, world.sickness)

    return [
        (Channel, lambda *given: world.channel()),
        (open_redis, lambda *given, **named: NoRedis()),
        (check_redis, no_warnings),
        (check_kind, one_primary),
        (open_repository, lambda *given, **named: world.store),
        (open_shared_memory, lambda *given: None),
        (BlobCache, cache),
        (LoadChecks, lambda *given: NoChecks()),
        (SelfTest, SoundDevice),
        (open_root, lambda config: Path("/nonexistent")),
        (SharedHost, LoneHost),
        (open_device, made_up_device),
        (candidates, no_gpus),
        (HeartbeatThread, parts.SimHeart),
        (Ledger, parts.CheckedLedger),
        (Child, type("Child", (parts.SimChild,), {"world": world})),
        (load, load_here),
        (Link, Links),
        (Progress, parts.SimProgress),
        (DeviceThread, SimDeviceThread),
    ]


def _sites(found: list[tuple[Any, Any]]) -> Iterator[tuple[Any, str, Any]]:
    """(module, name, replacement) for each place where a product module has an original."""
    by_id = {id(original): replacement for original, replacement in found}
    for module in list(sys.modules.values()):
        package = getattr(module, "__name__", "").partition(".")[0]
        if package not in ("router", "worker", "shared"):
            continue
        for name, value in list(vars(module).items()):
            if id(value) in by_id and getattr(value, "__module__", "") != module.__name__:
                yield module, name, by_id[id(value)]


@contextmanager
def in_place(world: World) -> Iterator[None]:
    """Product code runs in the simulated world for the block."""
    undo: list[tuple[Any, str, Any]] = []

    def put(where: Any, name: str, value: Any) -> None:
        undo.append((where, name, getattr(where, name)))
        setattr(where, name, value)

    for module, name, replacement in list(_sites(_replacements(world))):
        put(module, name, replacement)
    put(worker.process, "_leave", parts.exit_here)
    put(Completions, "_put", parts.telling(Completions._put, world.answered))
    put(BatchStart, "take_up", taking_up(world.wanted.taken_up))
    put(faulthandler, "dump_traceback", lambda *given, **named: None)
    put(os, "_exit", parts.exit_here)
    put(os, "getppid", parts.parent_of_here)
    put(time, "monotonic", world.monotonic)
    put(time, "perf_counter", world.monotonic)
    dice = random.Random(f"{world.seed} product")
    put(secrets, "token_hex", lambda size=32: dice.randbytes(size).hex())
    state, environment = random.getstate(), dict(os.environ)
    random.seed(world.seed)
    root = logging.getLogger()
    logs, others = Logs(world), root.handlers[:]
    root.handlers[:] = [logs]
    try:
        with redirect_stderr(StringIO()):  # what processes would say on their own
            yield
    finally:
        root.handlers[:] = others
        random.setstate(state)
        os.environ.clear()
        os.environ.update(environment)
        for where, name, value in reversed(undo):
            setattr(where, name, value)
