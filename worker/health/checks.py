"""Tests of what loads need: the disk of the cache, the store with its credentials, and the clock.

A store refuses signatures of a wrong clock. It may say just that or not, so the host's clock is
compared with Redis's and with the cell's, which follows Redis's without its leaps. It is wrong if
it agrees with neither: whichever of them is right, a leap makes no worker sick.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from shared.channel import Channel
from shared.connection import redis_errors
from shared.errors import RepositoryError, StoreUnavailable, Unavailable, WarmrouteError
from shared.keys import Keys
from shared.owned_folder import make_owned
from shared.redis_decode import cell_ms, clock_ms
from shared.repository import Repository
from shared.repository.disk import disk_errors
from worker.health.health import DISK

STORE, CLOCK = "store", "clock"
WITHIN_S = 10.0  # no answer by then counts as a failure
CLOCK_OFF_S = 60.0  # stores accept five to fifteen minutes
BLOCK = os.urandom(64 << 10)

Clocks = Callable[[], Awaitable[Sequence[float]]]


async def read_clocks(redis: Channel, keys: Keys) -> tuple[float, float]:
    """Redis's clock and the cell's, seconds since 1970. Unavailable."""
    ask = redis.execute_command
    with redis_errors():
        noted, time = await asyncio.gather(ask("GET", keys.clock), ask("TIME"))
    return clock_ms(time) / 1000, cell_ms(time, noted) / 1000


def check_disk(folder: Path) -> None:
    """Write a small file to `folder`, flush it and read it back; RepositoryError. A folder that was
    deleted is made anew, as a load does."""
    path = folder / f"health.{os.getpid()}"
    with disk_errors("the disk of the cache"):
        make_owned(folder)
        try:
            with path.open("wb") as file:
                file.write(BLOCK)
                file.flush()
                os.fsync(file.fileno())
            if path.read_bytes() != BLOCK:
                raise RepositoryError("the disk of the cache: it returns other bytes")
        finally:
            path.unlink(missing_ok=True)


class LoadChecks:
    """The tests of one worker. `folder`: of its cache; `clocks()`: of Redis, as `read_clocks`."""

    def __init__(self, folder: Path, repository: Repository, clocks: Clocks) -> None:
        self._clocks = clocks
        self._checks: dict[str, Callable[[], None]] = {
            DISK: lambda: check_disk(folder), STORE: repository.check,
        }  # fmt: skip
        self._threads = ThreadPoolExecutor(len(self._checks), thread_name_prefix="health")
        self._running: dict[str, asyncio.Future[None]] = {}

    async def run(self) -> dict[str, str]:
        """By test: the reason if it failed, else ''."""
        names = list(self._checks)
        reasons = await asyncio.gather(*map(self._in_thread, names), self._check_clock())
        return dict(zip([*names, CLOCK], reasons, strict=True))

    async def _in_thread(self, name: str) -> str:
        """A test that has not ended since the last time is not started again."""
        running = self._running.get(name)
        if running is None or running.done():
            loop = asyncio.get_running_loop()
            running = loop.run_in_executor(self._threads, self._checks[name])
            self._running[name] = running
        try:
            async with asyncio.timeout(WITHIN_S):
                await asyncio.shield(running)
        except TimeoutError:
            return StoreUnavailable(f"{name}: no answer within {WITHIN_S:g} s").message
        except WarmrouteError as error:
            return error.message
        except Exception as error:
            return f"{name}: {type(error).__name__}: {error}"
        return ""

    async def _check_clock(self) -> str:
        sent = time.time()
        try:
            clocks = await self._clocks()
        except Unavailable:
            return ""
        here = (sent + time.time()) / 2
        ahead_s = min((here - theirs for theirs in clocks), key=abs)
        if abs(ahead_s) < CLOCK_OFF_S:
            return ""
        return f"the clock of this host differs from Redis's by {ahead_s:.0f} s"
