"""Waiting for, and looking at, real processes."""

from __future__ import annotations

import time
from collections.abc import Callable

from deploy.local.process_tree import is_running as alive

__all__ = ["alive", "wait_until"]


def wait_until(true: Callable[[], object], within_s: float = 20.0) -> None:
    """Return as soon as `true()` is; fail if it has not become so in time."""
    ends = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < ends, "it did not become true in time"
        time.sleep(0.02)
