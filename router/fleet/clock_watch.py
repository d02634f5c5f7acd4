"""Whether Redis's clock leapt, or time passed while no gateway followed: decided by the
gateway's own clock, which only goes forward.

An answer that carries Redis's time was made between its sending and its arrival. So two answers
bound by how much more, or less, Redis's clock has moved than the time that passed here.
"""

from __future__ import annotations

import math
from typing import NamedTuple

PRECISE_MS = 500.0  # an answer that took longer was made while Redis, or this process, was busy
PATIENCE_MS = 5000.0  # other gateways may know better; after that the best guess counts


class Reading(NamedTuple):
    """Redis's clock, and this process's own before and after it was read; all ms."""

    redis_ms: float
    sent_ms: float
    received_ms: float


class ClockWatch:
    """The last reading that was explained, and the first one of those that are not."""

    def __init__(self) -> None:
        self._base: Reading | None = None
        self._mark = ""
        self._first = Reading(0, 0, 0)

    def explained(self, reading: Reading) -> None:
        """The cell's clock follows Redis's clock as read."""
        self._base, self._mark = reading, ""

    def leap(self, mark: str, reading: Reading) -> int | None:
        """By how much Redis's clock has leapt since (ms), 0 if time has passed; None if this
        gateway cannot say yet. Never less than it was: no deadline may pass too early. One that has
        started since says what it has seen itself: before that, time has passed."""
        if mark != self._mark:
            self._mark, self._first = mark, reading
        exact = self._base and reading.received_ms - reading.sent_ms <= PRECISE_MS
        if not exact and reading.received_ms - self._first.received_ms < PATIENCE_MS:
            return None
        base = self._base or self._first
        moved = reading.redis_ms - base.redis_ms
        least = moved - (reading.received_ms - base.sent_ms)
        most = moved - (reading.sent_ms - base.received_ms)
        return 0 if least <= 0 <= most else math.ceil(most) + 1  # Redis's is cut to ms
