"""The device process as its parent sees it: its start, messages, progress and end."""

from __future__ import annotations

import asyncio
import os
import secrets
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

PARENT = secrets.token_hex(8)  # this process, unlike any other under the name of its worker
LAST_MESSAGES_S = 0.2  # to read what it had written when it ended


class Child:
    """A running (or ended) device process. `start` makes it."""

    def __init__(self, process: asyncio.subprocess.Process, link: Link, progress: Progress) -> None:
        self.progress = progress
        self.epoch = ""  # its registration, '' before the first
        self.hot: list[str] = []
        self.recycling = False
        self.sick = ""  # why it left as sick
        self.started = clock.monotonic()
        self._process = process
        self._link = link
        self._cause = ""
        self._reading = asyncio.create_task(self._read_messages())

    @classmethod
    async def start(
        cls, env: Mapping[str, str], hot: Sequence[str], served_before: bool, suspect: str = "",
        inherited: Sequence[int] = (),
    ) -> Self:  # fmt: skip
        """Start a process that loads `hot`. `served_before`: another process of this worker has
        served, so the settings are right, and a service that does not answer now will later.
        `suspect`: why it is on probation. `inherited`: descriptors that it keeps open. The process
        has a session of its own: Ctrl-C and signals to the parent's group do not reach it."""
        here, there = socket.socketpair()
        file = shared_file()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "worker.process", str(os.getpid()), str(there.fileno()),
                str(file), env=env, pass_fds=(there.fileno(), file, *inherited),
                start_new_session=True, stdin=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            progress = Progress(file)
        finally:
            there.close()
            os.close(file)
        link = await Link.open(here)
        link.send(
            hot=list(hot), served_before=served_before, suspect=suspect, parent=PARENT
        )  # fmt: skip
        return cls(process, link, progress)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def lived_s(self) -> float:
        """Seconds since its start."""
        return clock.monotonic() - self.started

    async def ended(self) -> int:
        """Wait for its end and its last messages; the exit status, -N if signal N ended it."""
        status = await self._process.wait()
        with suppress(TimeoutError):  # a process that it had started may hold the link open
            async with asyncio.timeout(LAST_MESSAGES_S):
                await self._reading
        self._link.close()
        return status

    def refuse_restarts(self, seconds: float) -> None:
        """The process must not request a restart for `seconds`."""
        self._link.send(restart_not_before_s=seconds)

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing if the process has ended."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def kill(self, cause: str) -> None:
        """Send SIGKILL; `cause` is the reason."""
        self._cause = cause
        self.send(signal.SIGKILL)

    def cause(self, status: int) -> str:
        """The cause of its end."""
        return self._cause or describe(status) + (f": {self.sick}" if self.sick else "")

    def stopped(self) -> bool:
        """Whether it was stopped (SIGSTOP, or a debugger), so that it cannot run."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:
            return False
        return stat.rpartition(")")[2].split()[0] in ("T", "t")

    async def _read_messages(self) -> None:
        while (message := await self._link.receive()) is not None:
            self.epoch = message.get("epoch", self.epoch)
            self.sick = message.get("sick", self.sick)
            if not self.recycling:  # else it drains, and its list shrinks
                self.hot = message.get("hot", self.hot)
            self.recycling |= bool(message.get("recycling"))
