"""Launches child processes and waits until they are ready.

A child leads a process group of its own, so that Ctrl-C at the terminal reaches only the process
that launched it; and it ends with that process (`shared/parent_death.py`).
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.local.child import Child, Restart, ShowLine
from shared.errors import Unavailable
from shared.parent_death import tied

CRASH_LOOP = 3  # restarts after which waiting for a child is useless
DRAINED_S = 30.0  # the most that a gateway or a worker needs to drain
_POLL_S = 0.01


@dataclass(frozen=True)
class Process:
    """A gateway or a worker. `name` is the worker's id; `url` is the gateway's address.

    A worker is a pair of processes: `child` is the parent, which keeps the device process running.
    """

    name: str
    child: Child
    url: str = ""

    @property
    def log(self) -> str:
        """All that it wrote."""
        return self.child.log.read_text()

    def stop(self, grace_s: float = DRAINED_S) -> int:
        """SIGTERM, and wait for its end; the exit status."""
        return self.child.stop(grace_s)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.child.returncode is None


def start(
    command: Sequence[str],
    *,
    name: str,
    log: Path | ShowLine,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
    restart: Restart | None = None,
) -> Child:
    """Launch `command`, its output appended to `log` or, line by line, passed to it.

    Unavailable if it cannot be started.
    """

    def spawn() -> subprocess.Popen[bytes]:
        with ExitStack() as opened:
            output: Any = subprocess.PIPE
            if isinstance(log, Path):
                output = opened.enter_context(log.open("ab"))
            return subprocess.Popen(
                tied(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                pass_fds=pass_fds,
                start_new_session=True,
            )

    if isinstance(log, Path):
        log.parent.mkdir(parents=True, exist_ok=True)
    child = Child(name, spawn, log, restart)
    child.launch()
    return child


def wait_ready(child: Child, ready: Callable[[], bool], timeout_s: float) -> None:
    """Return once `ready()` is true; Unavailable, with what the child logged, if it ends, crashes
    again and again, or takes longer.

    `ready` must answer quickly and must know this child from another server on the same port.
    """
    deadline = time.monotonic() + timeout_s
    while child.returncode is None:
        if ready():
            return
        if child.restarts >= CRASH_LOOP:
            raise Unavailable(f"{child.name} crashed {child.restarts} times, see its lines above")
        if time.monotonic() > deadline:
            raise Unavailable(f"{child.name} was not ready in {timeout_s:g} s\n{child.log_tail()}")
        time.sleep(_POLL_S)
    raise Unavailable(f"{child.name} ended with status {child.returncode}\n{child.log_tail()}")
