"""How fast a worker gets on: requests completed per second, over the last seconds."""

from __future__ import annotations

import math

from shared import clock

WINDOW_S = 5.0


class Rate:
    """A moving average whose memory fades with `window_s`."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._at = clock.monotonic()
        self._total = 0
        self._rate = 0.0

    def at(self, total: int) -> float:
        """The rate now, per second; `total` were completed since the start."""
        now = clock.monotonic()
        passed = now - self._at
        if passed > 0:
            weight = 1 - math.exp(-passed / self._window_s)
            self._rate += weight * ((total - self._total) / passed - self._rate)
            self._at, self._total = now, total
        return round(self._rate, 3)
