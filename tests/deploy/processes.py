"""Waiting for, and looking at, real processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def wait_until(true: Callable[[], object], within_s: float = 20.0) -> None:
    """Return as soon as `true()` is; fail if it has not become so in time."""
    ends = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < ends, "it did not become true in time"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended but was not yet collected does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
