"""A child process: logged, restarted on request, surely stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event, Lock, Thread
from typing import NamedTuple

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_result,
    sleep_using_event,
    stop_when_event_set,
    wait_exponential,
)

from deploy.local.process_tree import kill_all
from shared.errors import Unavailable

GRACE_S = 10.0
_CANNOT_RUN = 127
_TAIL_LINES = 15
_TAIL_BYTES = 16 << 10
_LINE_BYTES = 1 << 20  # a longer line is shown in parts

ShowLine = Callable[[str], None]


class _Run(NamedTuple):
    """A process that has ended: its exit status, and how long it ran."""

    status: int
    seconds: float


@dataclass(frozen=True)
class Restart:
    """Start a child again after each end: at once if it ran for `settled_s`, else after a wait
    that doubles from `first_s` to `longest_s`. Seconds."""

    first_s: float = 0.5
    longest_s: float = 30.0
    settled_s: float = 30.0


class Child:
    """A child process; `start` makes it. With `restart` it is one that is kept running."""

    def __init__(
        self, name: str, spawn: Callable[[], subprocess.Popen[bytes]], log: Path | ShowLine,
        restart: Restart | None,
    ) -> None:  # fmt: skip
        self.name = name
        self.pid = 0  # of the last process
        self.restarts = 0
        self._spawn = spawn
        self._log = log
        self._restart = restart
        self._launching = Lock()
        self._stopping = Event()
        self._launched: Future[None] = Future()
        self._ended: Future[int] = Future()

    @property
    def log(self) -> Path:
        """Where its output is appended."""
        assert isinstance(self._log, Path), f"the output of {self.name} is shown, not kept"
        return self._log

    @property
    def returncode(self) -> int | None:
        """Exit status, -N if signal N ended it; None while it runs or will be started again."""
        return self._ended.result() if self._ended.done() else None

    def launch(self) -> None:
        """Return when the process is there; Unavailable if it cannot be started."""
        Thread(target=self._keep, name=f"keeper of {self.name}", daemon=True).start()
        try:
            self._launched.result()
        except (OSError, ValueError) as error:
            raise Unavailable(f"{self.name} cannot be started: {error}") from error

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for its end, and return the exit status; TimeoutError if it takes longer."""
        return self._ended.result(timeout_s)

    def send_signal(self, number: int) -> None:
        """Send a signal to the process alone; nothing if it has ended."""
        with suppress(ProcessLookupError):
            if self.returncode is None:
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM, and do not start it again."""
        with self._launching:
            self._stopping.set()
        self.send_signal(signal.SIGTERM)

    def stop(self, grace_s: float = GRACE_S) -> int:
        """SIGTERM, and `kill` after `grace_s`. Returns the exit status."""
        self.terminate()
        try:
            return self.wait(grace_s)
        except TimeoutError:
            return self.kill()

    def kill(self) -> int:
        """SIGKILL to its whole group and to all that it started, at once."""
        with self._launching:
            self._stopping.set()
        if self.returncode is None:
            kill_all(self.pid)
        return self.wait()

    def log_tail(self) -> str:
        """The last lines it wrote to its log; empty if its output is shown instead."""
        if not isinstance(self._log, Path):
            return ""
        with self._log.open("rb") as file:
            file.seek(max(0, self._log.stat().st_size - _TAIL_BYTES))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-_TAIL_LINES:])

    def _keep(self) -> None:
        """Run until stopped, on a thread of its own: Linux sends the death signal when the *thread*
        that launched a process ends, so this one must not end earlier than the process."""
        try:
            run = self._run_again(self._restart) if self._restart else self._run()
        except (OSError, ValueError) as error:
            if self._launched.done():
                self._ended.set_result(_CANNOT_RUN)
            else:
                self._launched.set_exception(error)
        else:
            self._ended.set_result(run.status)

    def _run_again(self, restart: Restart) -> _Run:
        """Each pass over a series of crashes ends with a run that lasted, or when stopped."""
        retrying = Retrying(
            retry=retry_if_result(lambda run: run.seconds < restart.settled_s),
            wait=wait_exponential(multiplier=restart.first_s, max=restart.longest_s),
            sleep=sleep_using_event(self._stopping),
            stop=stop_when_event_set(self._stopping),
            before_sleep=self._report,
            retry_error_callback=lambda state: state.outcome and state.outcome.result(),
        )
        while True:
            run: _Run = retrying(self._run)
            if self._stopping.is_set():
                return run

    def _run(self) -> _Run:
        """One process from its launch to its end."""
        with self._launching:
            if self._stopping.is_set():  # while it waited for its restart
                return _Run(0, 0.0)
            process, began = self._spawn(), time.monotonic()
            self.pid = process.pid
        self.restarts += self._launched.done()
        if not self._launched.done():
            self._launched.set_result(None)
        if process.stdout is not None:
            with process.stdout as output:
                for line in iter(partial(output.readline, _LINE_BYTES), b""):
                    self._show(line.decode(errors="replace").rstrip())
        return _Run(process.wait(), time.monotonic() - began)

    def _report(self, state: RetryCallState) -> None:
        if state.outcome is not None and not self._stopping.is_set():
            status = state.outcome.result().status
            how = f"by signal {-status}" if status < 0 else f"with status {status}"
            self._show(f"ended {how}; restarts in {state.upcoming_sleep:g} s")

    def _show(self, line: str) -> None:
        if not isinstance(self._log, Path):
            self._log(line)
