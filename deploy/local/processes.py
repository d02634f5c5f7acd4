"""Child processes: started apart from the terminal, watched, logged, and surely stopped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from threading import Thread

from shared.errors import Unavailable

GRACE_S = 10.0
_POLL_S = 0.01
_TAIL_LINES = 15
_TAIL_BYTES = 16 << 10


class Child:
    """A running (or ended) child. `start` makes it."""

    def __init__(self, name: str, pid: int, log: Path, ended: Future[int]) -> None:
        self.name = name
        self.pid = pid
        self.log = log
        self._ended = ended

    @property
    def returncode(self) -> int | None:
        """Exit status, -N if signal N ended it; None while it runs."""
        return self._ended.result() if self._ended.done() else None

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for its end; TimeoutError if it takes longer."""
        return self._ended.result(timeout_s)

    def send_signal(self, number: int) -> None:
        """Send a signal to the child alone; nothing if it has ended."""
        with suppress(ProcessLookupError):
            if self.returncode is None:
                os.kill(self.pid, number)

    def stop(self, grace_s: float = GRACE_S) -> int:
        """SIGTERM, and `kill` after `grace_s`. Returns the exit status."""
        self.send_signal(signal.SIGTERM)
        try:
            return self.wait(grace_s)
        except TimeoutError:
            return self.kill()

    def kill(self) -> int:
        """SIGKILL to its whole group and to all that it started, at once."""
        if self.returncode is None:
            kill_all(self.pid)
        return self.wait()

    def log_tail(self) -> str:
        """The last lines it wrote."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-_TAIL_LINES:])


def start(
    command: Sequence[str],
    *,
    name: str,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> Child:
    """Start `command` in a process group of its own, its output appended to `log`.

    It gets SIGTERM if this process dies in whatever way (on Linux, with util-linux installed).
    Unavailable if it cannot be started.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    begun: Future[int] = Future()
    ended: Future[int] = Future()

    def run() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                [*_dies_with_parent(), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                pass_fds=pass_fds,
                start_new_session=True,
            )

    Thread(target=_keep, args=(run, begun, ended), name=f"keeper of {name}", daemon=True).start()
    try:
        return Child(name, begun.result(), log, ended)
    except (OSError, ValueError) as error:
        raise Unavailable(f"{name} cannot be started: {error}") from error


def _keep(
    run: Callable[[], subprocess.Popen[bytes]], begun: Future[int], ended: Future[int]
) -> None:
    """Start a child and wait for its end, on a thread of its own: Linux sends the death signal
    when the *thread* that started the child ends, so that thread must live exactly as long."""
    try:
        process = run()
    except (OSError, ValueError) as error:
        begun.set_exception(error)
        return
    begun.set_result(process.pid)
    ended.set_result(process.wait())


def wait_ready(child: Child, ready: Callable[[], bool], timeout_s: float) -> None:
    """Return once `ready()` is true; Unavailable, with what it logged, if it ends or takes longer.

    `ready` must answer quickly and must know this child from another server on the same port.
    """
    deadline = time.monotonic() + timeout_s
    while child.returncode is None:
        if ready():
            return
        if time.monotonic() > deadline:
            raise Unavailable(f"{child.name} was not ready in {timeout_s:g} s\n{child.log_tail()}")
        time.sleep(_POLL_S)
    raise Unavailable(f"{child.name} ended with status {child.returncode}\n{child.log_tail()}")


def _dies_with_parent() -> list[str]:
    """A program that asks for the signal and then becomes the child: the pid stays the same."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


def kill_all(head: int) -> None:
    """SIGKILL to the process group of `head` and to whatever runs under it in groups of its own."""
    below = descendants(head)
    for kill, pid in [(os.killpg, head), *((os.kill, pid) for pid in below)]:
        with suppress(ProcessLookupError):
            kill(pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """Its running children, oldest first, then theirs. Linux only; elsewhere none are found."""
    children = [child for child, parent in _parents().items() if parent == pid]
    return children + [below for child in children for below in descendants(child)]


def _parents() -> dict[int, int]:
    """The parent of every process that has not ended, by its id."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if state not in ("Z", "X"):
                found[int(folder.name)] = int(parent)
    return dict(sorted(found.items()))
