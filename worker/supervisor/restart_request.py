"""A device process that asks to be replaced: it drains, leaves, and ends with `RENEWED`.

Its parent starts the next one at once, with what it held. Nothing of that is a crash: no back-off
is counted, no request is charged. Who asks too often is held back by its parent for a while: then
something is wrong that a new process does not mend.
"""

from __future__ import annotations

from collections import deque

from shared import clock

MOST, WITHIN_S = 3, 600.0


class RestartRequest:
    """In the device process: whether it is to be replaced, and why."""

    def __init__(self) -> None:
        self.why = ""  # '' while it is not
        self._not_before = 0.0

    def hold(self, seconds: float) -> None:
        """Not within the next `seconds`."""
        self._not_before = clock.monotonic() + seconds

    def ask(self, why: str) -> bool:
        """Whether this process is to be replaced from now on; False while that is held back."""
        if not self.why and clock.monotonic() >= self._not_before:
            self.why = why
        return bool(self.why)

    def drop(self) -> None:
        """It was told to stop: nobody is to follow it."""
        self.why = ""


class Renewals:
    """In the parent: how often its device processes have asked for it."""

    def __init__(self, most: int = MOST, within_s: float = WITHIN_S) -> None:
        self._within_s = within_s
        self._times: deque[float] = deque(maxlen=most)

    def too_many(self) -> bool:
        """Count one, now. Whether it is the `most`-th within the time."""
        now = clock.monotonic()
        self._times.append(now)
        return len(self._times) == self._times.maxlen and now - self._times[0] < self._within_s
