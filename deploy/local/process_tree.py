"""Which processes run below another one, and an end to all of them. Linux only.

Elsewhere no descendants are found, and `kill_all` reaches the process group alone.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path


def kill_all(head: int) -> None:
    """SIGKILL to the process group of `head` and to whatever runs below it in other groups."""
    below = descendants(head)
    for kill, pid in [(os.killpg, head), *((os.kill, pid) for pid in below)]:
        with suppress(ProcessLookupError):
            kill(pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """The running children of a process, oldest first, then theirs."""
    children = [child for child, parent in _parents().items() if parent == pid]
    return children + [below for child in children for below in descendants(child)]


def is_running(pid: int) -> bool:
    """Whether a process exists and has not ended; False for one that is only not yet reaped."""
    return pid in _parents()


def _parents() -> dict[int, int]:
    """The parent of every process that has not ended, by process id."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if state not in ("Z", "X"):
                found[int(folder.name)] = int(parent)
    return dict(sorted(found.items()))
