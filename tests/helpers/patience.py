"""Waiting, in tests without an event loop, for what processes do. Its async twin is `wait.py`."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.helpers.wait import PATIENCE_S


def wait_until(true: Callable[[], object], within_s: float = PATIENCE_S) -> None:
    """Return as soon as `true()` is; fail if it has not become so in time."""
    ends = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < ends, "it did not become true in time"
        time.sleep(0.01)
