"""Waits between retries: longer each time, with jitter, so that the clients of a restarted server
do not all reconnect at once.
"""

from __future__ import annotations

import random

from shared import clock

FIRST_S, LONGEST_S = 0.05, 1.0


def doubled_s(failures: int, first_s: float, longest_s: float) -> float:
    """`first_s` after one failure, twice as long after each further one in a row, at most
    `longest_s`; seconds."""
    return min(first_s * 2.0 ** min(failures - 1, 30), longest_s)


def wait_s(failures: int, first_s: float, longest_s: float) -> float:
    """Seconds to wait after so many failures in a row (1 or more): `doubled_s`, less up to half of
    it at random."""
    return doubled_s(failures, first_s, longest_s) * random.uniform(0.5, 1.0)


class Backoff:
    """Counts failures in a row. Until a wait is over `waits()` is true: callers fail at once."""

    def __init__(self) -> None:
        self._failures = 0
        self._until = 0.0

    def waits(self) -> bool:
        """Whether it is too soon for the next try."""
        return clock.monotonic() < self._until

    def failed(self) -> None:
        """A try failed: the next one waits, at most LONGEST_S."""
        self._failures += 1
        self._wait(self._failures)

    def lost(self, lasted_s: float) -> None:
        """A connection was lost. One that lasted may be replaced at once; of those that never
        last (a proxy before a dead server, a replica that takes no writes) only the first."""
        self._failures = 0 if lasted_s > LONGEST_S else self._failures + 1
        self._wait(self._failures - 1)

    def _wait(self, failures: int) -> None:
        if failures > 0:
            self._until = clock.monotonic() + wait_s(failures, FIRST_S, LONGEST_S)
