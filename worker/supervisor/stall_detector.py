"""How long something has not moved, counted by who looks at it."""

from __future__ import annotations


class StallDetector:
    """Counts the observer's own ticks. So a pause of the whole machine or of both processes, in
    which the observer did not run either, does not count."""

    def __init__(self, tick_s: float) -> None:
        self._tick_s = tick_s
        self._ticks = 0
        self._last: object = None

    def seen(self, shown: object) -> float:
        """Look once per tick; seconds for which it has shown the same."""
        self._ticks = self._ticks + 1 if shown == self._last else 0
        self._last = shown
        return self._ticks * self._tick_s

    def forgive(self) -> None:
        """Begin to count again."""
        self._ticks = 0
