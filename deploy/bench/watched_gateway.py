"""A gateway that notes for how long its event loop stands still: `python -m` this module.

On SIGUSR1 it writes a row to the file that BENCH_STOPS names, and begins anew. `longest`: how late
a timer was at most, which other processes lengthen where they take the core; `longest_cpu`: the
processor time of the loop's thread between two timers, which they do not, but which leaves out what
other threads did with Python's lock; `collected`: the longest collection of garbage.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

import router.__main__
from deploy.bench.measure import BenchError
from router.rest import server
from shared.config import RouterConfig
from shared.repository import s3_client
from shared.repository.options import S3Options

FILE = "BENCH_STOPS"
COMMAND = [sys.executable, "-u", "-m", "deploy.bench.watched_gateway"]
EVERY_S = 0.001


class Stops(msgspec.Struct):
    """Seconds. `collections`: how many there were; `lists`: LISTs that the store was sent."""

    longest: float = 0.0
    longest_cpu: float = 0.0
    collected: float = 0.0
    collections: int = 0
    lists: int = 0


class Watched(NamedTuple):
    """A gateway that was started so."""

    pid: int
    path: Path

    def read(self, within_s: float = 5.0) -> Stops:
        """What it has noted since the last time."""
        self.path.unlink(missing_ok=True)
        os.kill(self.pid, signal.SIGUSR1)
        ends = time.monotonic() + within_s
        while time.monotonic() < ends:
            with suppress(FileNotFoundError):
                return msgspec.json.decode(self.path.read_bytes(), type=Stops)
            time.sleep(0.01)
        raise BenchError(f"{self.path}: nothing was written in {within_s:g} s")


class Watch:
    """Watches the running loop, and what is sent to the store."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stops = Stops()
        self._collecting = 0.0
        gc.callbacks.append(self._note_collection)
        s3_client._open = self._opening(s3_client._open)

    async def run(self) -> None:
        """Look every millisecond, until it is cancelled."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._write)
        while True:
            due, spent = time.perf_counter() + EVERY_S, time.thread_time()
            await asyncio.sleep(EVERY_S)
            stops = self._stops
            stops.longest = max(stops.longest, time.perf_counter() - due)
            stops.longest_cpu = max(stops.longest_cpu, time.thread_time() - spent)

    def _note_collection(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._collecting = time.perf_counter()
            return
        took = time.perf_counter() - self._collecting
        self._stops.collected = max(self._stops.collected, took)
        self._stops.collections += 1

    def _opening(self, opened: Callable[..., Any]) -> Callable[..., Any]:
        """Opens clients whose LISTs are counted."""

        def note(**_: object) -> None:
            self._stops.lists += 1

        def counted(options: S3Options) -> Any:
            client, *others = opened(options)
            client.meta.events.register("before-call.s3.ListObjectsV2", note)
            return client, *others

        return counted

    def _write(self) -> None:
        aside = self._path.with_suffix(".new")
        aside.write_bytes(msgspec.json.encode(self._stops))
        aside.replace(self._path)
        self._stops = Stops()


def main() -> int:
    """As `python -m router`."""
    serve, watch = server.serve, Watch(Path(os.environ[FILE]))

    async def watched(app: web.Application, config: RouterConfig) -> None:
        looking = asyncio.create_task(watch.run())
        try:
            await serve(app, config)
        finally:
            looking.cancel()

    server.serve = watched
    return router.__main__.main()


if __name__ == "__main__":
    sys.exit(main())
