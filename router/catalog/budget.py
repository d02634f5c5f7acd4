"""A limit of calls per second."""

from __future__ import annotations

from shared import clock


class Budget:
    """Allows `burst` calls at once and `per_s` a second after them."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = float(burst)
        self._at = clock.monotonic()

    def take(self) -> bool:
        """Whether one more call may be made now; counts it."""
        now = clock.monotonic()
        self._left = min(self._left + (now - self._at) * self._per_s, self._burst)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
