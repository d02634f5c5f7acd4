"""The device process as its parent sees it: started, listened to, watched, ended."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from shared import clock
from worker.supervisor.link import Link
from worker.supervisor.progress import Progress, shared_file
from worker.supervisor.restart import describe

LAST_WORDS_S = 0.2  # to read what it had written when it ended


class Child:
    """A running (or ended) device process. `start` makes it."""

    def __init__(self, process: asyncio.subprocess.Process, link: Link, progress: Progress) -> None:
        self.progress = progress
        self.epoch = ""  # its registration, '' before the first
        self.hot: list[str] = []
        self.renewing = False
        self.started = clock.monotonic()
        self._process = process
        self._link = link
        self._cause = ""
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, env: Mapping[str, str], hot: Sequence[str], again: bool) -> Self:
        """Start one that is to load `hot` again. `again`: another served before it, so the settings
        are right, and what does not answer now will. Its session is its own: Ctrl-C and signals to
        the parent's group do not reach it."""
        here, there = socket.socketpair()
        file = shared_file()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "worker.process", str(os.getpid()), str(there.fileno()),
                str(file), env=env, pass_fds=(there.fileno(), file), start_new_session=True,
                stdin=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            progress = Progress(file)
        finally:
            there.close()
            os.close(file)
        link = await Link.open(here)
        link.tell(hot=list(hot), again=again)
        return cls(process, link, progress)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def lived_s(self) -> float:
        """Seconds since its start."""
        return clock.monotonic() - self.started

    async def ended(self) -> int:
        """Wait for its end and hear its last words; the exit status, -N if signal N ended it."""
        status = await self._process.wait()
        with suppress(TimeoutError):  # something that it had started may hold the line open
            async with asyncio.timeout(LAST_WORDS_S):
                await self._listening
        self._link.close()
        return status

    def calm(self, seconds: float) -> None:
        """It must not ask to be replaced for so long."""
        self._link.tell(calm_s=seconds)

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing if it has ended."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def kill(self, cause: str) -> None:
        """SIGKILL, and why."""
        self._cause = cause
        self.send(signal.SIGKILL)

    def cause(self, status: int) -> str:
        """Why it ended."""
        return self._cause or describe(status)

    def stopped(self) -> bool:
        """Whether it was stopped (SIGSTOP, or a debugger): it does not run, and is not to blame."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:
            return False
        return stat.rpartition(")")[2].split()[0] in ("T", "t")

    async def _listen(self) -> None:
        while (message := await self._link.hear()) is not None:
            self.epoch = message.get("epoch", self.epoch)
            if not self.renewing:  # else it drains, and holds less and less
                self.hot = message.get("hot", self.hot)
            self.renewing |= bool(message.get("renewing"))
