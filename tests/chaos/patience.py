"""Waiting for what other processes do, in faults and their checks."""

from __future__ import annotations

import time
from collections.abc import Callable

_PAUSE_S = 0.02


def until(true: Callable[[], object], within_s: float) -> bool:
    """Whether `true()` became so in time."""
    ends = time.monotonic() + within_s
    while not true():
        if time.monotonic() > ends:
            return False
        time.sleep(_PAUSE_S)
    return True


def stays(true: Callable[[], object], for_s: float) -> bool:
    """Whether `true()` was so at every look within so many seconds."""
    ends = time.monotonic() + for_s
    while time.monotonic() < ends:
        if not true():
            return False
        time.sleep(_PAUSE_S)
    return True
