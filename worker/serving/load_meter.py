"""The load of a worker: device time per request, the busy share by model, requests per second.

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
    """One model: `level`, its share of the device's time at `at`, and the requests it answered."""

    __slots__ = ("at", "hits", "level")

    def __init__(self) -> None:
        self.level, self.at, self.hits = 0.0, 0.0, 0


class Meter:
    """Device time by model. `add` is called on the device thread; any thread may read.

    `service_ms` fades with the device's time, not with the clock's: a worker that was idle still
    knows how long its requests take.
    """

    def __init__(self) -> None:
        self._models: dict[str, _Model] = {}
        self._level, self._at = 0.0, clock.monotonic()
        self._seconds, self._requests = 0.0, 0.0  # of the last calls, fading

    def add(self, ref: str, seconds: float, requests: int) -> None:
        """Count a device call of `ref` that has just ended: it took `seconds` and answered so many
        `requests` (0 if it failed and its requests are run again)."""
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
        """Milliseconds of device time per request, averaged over the last calls; 0 before any."""
        return 1000 * self._seconds / self._requests if self._requests > 0 else 0.0

    @property
    def busy(self) -> float:
        """The share of time, 0 to 1, for which the device computed, over the last seconds."""
        return min(1.0, self._faded(self._level, self._at, clock.monotonic()))

    def share(self, ref: str) -> float:
        """The share of time, 0 to 1, for which the device computed `ref`, over the last seconds."""
        model = self._models.get(ref)
        return min(1.0, self._faded(model.level, model.at, clock.monotonic())) if model else 0.0

    def hits(self, ref: str) -> int:
        """Requests that `ref` has answered since it was loaded."""
        model = self._models.get(ref)
        return model.hits if model else 0

    def forget(self, ref: str) -> None:
        """The copy of `ref` was freed: the figures of a next one begin anew."""
        self._models.pop(ref, None)

    @staticmethod
    def _faded(level: float, at: float, now: float) -> float:
        return level * exp((at - now) / FADE_S)


class CompletionRate:
    """Requests completed per second: a moving average that fades with `window_s`."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._at = clock.monotonic()
        self._total = 0
        self._rate = 0.0

    def at(self, total: int) -> float:
        """The rate now, per second; `total` requests were completed since the start."""
        now = clock.monotonic()
        passed = now - self._at
        if passed > 0:
            weight = 1 - exp(-passed / self._window_s)
            self._rate += weight * ((total - self._total) / passed - self._rate)
            self._at, self._total = now, total
        return round(self._rate, 3)
