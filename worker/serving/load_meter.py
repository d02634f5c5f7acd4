"""What the device's time goes to: how long a request takes, how busy the device is, and for whom.

Averages that fade, so a figure is a few numbers and an update is a few multiplications: this is
the warm path. An average that fades with half of `WINDOW_S` looks as far back, in the mean, as a
window of `WINDOW_S` does.
"""

from __future__ import annotations

from math import exp

from shared import clock

WINDOW_S = 5.0
FADE_S = WINDOW_S / 2


class _Model:
    """Of one model: its share of the device's time as of `at`, and the requests it answered."""

    __slots__ = ("at", "hits", "level")

    def __init__(self) -> None:
        self.level, self.at, self.hits = 0.0, 0.0, 0


class Meter:
    """`add` is called on the device thread, where each call ends; any thread may read.

    `service_ms` fades with the device's time, not with the clock's: a worker that was idle still
    knows how long its requests take.
    """

    def __init__(self) -> None:
        self._models: dict[str, _Model] = {}
        self._level, self._at = 0.0, clock.monotonic()
        self._seconds, self._requests = 0.0, 0.0  # of the last calls, fading

    def add(self, ref: str, seconds: float, requests: int) -> None:
        """A device call of `ref` has just ended: it took `seconds` and answered so many requests
        (0 if it failed and its requests are run again)."""
        now = clock.monotonic()
        kept = exp(-seconds / FADE_S)
        self._level, self._at = self._faded(self._level, self._at, now) + 1 - kept, now
        self._seconds = self._seconds * kept + seconds
        self._requests = self._requests * kept + requests
        model = self._models.get(ref)
        if model is None:
            model = self._models[ref] = _Model()
        model.level, model.at = self._faded(model.level, model.at, now) + 1 - kept, now
        model.hits += requests

    @property
    def service_ms(self) -> float:
        """Milliseconds of device time per request, lately; 0 before the first."""
        return 1000 * self._seconds / self._requests if self._requests > 0 else 0.0

    @property
    def busy(self) -> float:
        """The share of time, 0 to 1, for which the device computed, over the last seconds."""
        return min(1.0, self._faded(self._level, self._at, clock.monotonic()))

    def share(self, ref: str) -> float:
        """The share of time, 0 to 1, for which the device computed `ref`, likewise."""
        model = self._models.get(ref)
        return min(1.0, self._faded(model.level, model.at, clock.monotonic())) if model else 0.0

    def hits(self, ref: str) -> int:
        """Requests that `ref` has answered since it was loaded."""
        model = self._models.get(ref)
        return model.hits if model else 0

    def forget(self, ref: str) -> None:
        """The copy was freed: a next one begins anew."""
        self._models.pop(ref, None)

    @staticmethod
    def _faded(level: float, at: float, now: float) -> float:
        return level * exp((at - now) / FADE_S)
