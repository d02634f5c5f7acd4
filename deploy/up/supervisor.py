"""Runs processes: shows what they say, restarts what crashes, stops all.

Each is the head of its own process group, so Ctrl-C reaches only the supervisor, which then stops
them in order; and each ends with the supervisor even if that is killed (`child.py`).
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from deploy.local.processes import kill_all
from deploy.up.child import command_under
from deploy.up.procfile import ProcessSpec

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
SETTLED_S = 30.0  # who ran this long and then crashed starts again with the shortest wait
LONGEST_LINE = 1 << 20

Say = Callable[[str, str], None]


@dataclass(frozen=True)
class Backoff:
    """How long to wait before the n-th restart in a row."""

    first_s: float = FIRST_WAIT_S
    longest_s: float = LONGEST_WAIT_S
    settled_s: float = SETTLED_S

    def wait_s(self, crashes: int) -> float:
        """Doubles from `first_s` to `longest_s`; `crashes` counts from 1."""
        return min(self.first_s * 2.0 ** min(crashes - 1, 20), self.longest_s)


class Supervised:
    """One process, kept running until `stop`."""

    def __init__(self, spec: ProcessSpec, say: Say, backoff: Backoff) -> None:
        self.spec = spec
        self.restarts = 0
        self._say = say
        self._backoff = backoff
        self._stopping = asyncio.Event()
        # Also the id of its process group, which may outlive it: whoever holds its output open
        # still belongs to it.
        self.pid: int | None = None

    async def run(self) -> None:
        """Start, and start again after each end, until stopped."""
        crashes = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            status = await self._run_once()
            if self._stopping.is_set():
                return
            crashes = 1 if time.monotonic() - began > self._backoff.settled_s else crashes + 1
            wait_s = self._backoff.wait_s(crashes)
            self._say(self.spec.name, f"ended {_describe(status)}; again in {wait_s:g} s")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait_s)
            self.restarts += 1

    def stop(self) -> None:
        """Ask it to end (SIGTERM), and do not start it again."""
        self._stopping.set()
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and all it started, at once."""
        self._stopping.set()
        if self.pid is not None:
            kill_all(self.pid)

    async def _run_once(self) -> int:
        process = await asyncio.create_subprocess_exec(
            *command_under(os.getpid(), ["sh", "-c", f"exec {self.spec.command}"]),
            env={**os.environ, **self.spec.env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            limit=LONGEST_LINE,
        )
        self.pid = process.pid
        if self._stopping.is_set():  # asked to stop while it was being started
            self._signal(signal.SIGTERM)
        assert process.stdout is not None
        await self._show(process.stdout)
        status = await process.wait()
        self.pid = None
        return status

    async def _show(self, output: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await output.readline()
            except ValueError:
                line = b"(a line of over 1 MiB is left out)\n"
            if not line:
                return
            self._say(self.spec.name, line.decode(errors="replace").rstrip())

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)


class Supervisor:
    """All processes of a stack."""

    def __init__(self, say: Say, backoff: Backoff | None = None) -> None:
        self.processes: list[Supervised] = []
        self._say = say
        self._backoff = backoff or Backoff()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, specs: Iterable[ProcessSpec]) -> None:
        """Start these beside those that run already."""
        for spec in specs:
            process = Supervised(spec, self._say, self._backoff)
            self.processes.append(process)
            self._tasks.append(asyncio.create_task(process.run(), name=spec.name))

    async def stop(self, grace_s: float, hurry: asyncio.Event | None = None) -> None:
        """SIGTERM to all, and SIGKILL to those that still run after `grace_s`, or once `hurry` is
        set; returns when all have ended."""
        for process in self.processes:
            process.stop()
        ended = asyncio.gather(*self._tasks)
        impatient = asyncio.create_task((hurry or asyncio.Event()).wait())
        await asyncio.wait((ended, impatient), timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
        impatient.cancel()
        for process, task in zip(self.processes, self._tasks, strict=True):
            if not task.done():
                self._say(process.spec.name, "still runs: killed")
                process.kill()
        await ended


def _describe(status: int) -> str:
    return f"by signal {-status}" if status < 0 else f"with status {status}"
