"""Whether failures of this worker go on while nothing succeeds, although its self-tests pass. Pure.

A self-test shows what it was made for. A worker that fails all that it is asked, while others
like it do the same, is of no use, whatever is the cause.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from shared import clock

SEVERAL = 2  # models: one alone may be the cause
MANY = 8  # tries: a suspect worker is asked to load something each half a minute
LASTING_S = 300.0
FRESH_S = 60.0  # after which the last failure makes it suspicious no more
KEPT = 8  # models whose names are kept
NEVER = -math.inf


class Unexplained(NamedTuple):
    """What failed. `loads`: loads did, else calls. `age_s`: seconds since the first failure."""

    loads: bool
    refs: tuple[str, ...]
    tries: int
    age_s: float


class FailureRow:
    """Failures of one kind, loads or calls, since something has succeeded. `failed` belongs to one
    thread; any may read. `succeeded_at`: when a call has last succeeded here, NEVER if none has."""

    def __init__(self, *, loads: bool) -> None:
        self._loads = loads
        self._refs: tuple[str, ...] = ()
        self.end()

    def failed(self, ref: str, succeeded_at: float) -> None:
        """One more, of this model."""
        now = clock.monotonic()
        if not self._holds(succeeded_at):
            self.end()
            self._first = now
        self._tries += 1
        self._last = now
        if len(self._refs) < KEPT:
            self._refs = tuple(dict.fromkeys((*self._refs, ref)))

    def end(self) -> None:
        """One of this kind has succeeded, or a self-test explains the failures."""
        self._tries, self._first, self._last = 0, 0.0, 0.0
        self._refs = ()

    @property
    def refs(self) -> tuple[str, ...]:
        """The first models that failed."""
        return self._refs

    def is_suspicious(self, succeeded_at: float) -> bool:
        """Whether several models have failed lately, and nothing has succeeded since."""
        several = len(self._refs) >= SEVERAL and self._tries >= 2 * SEVERAL
        fresh = clock.monotonic() - self._last < FRESH_S
        return several and fresh and self._holds(succeeded_at)

    def lasting(self, succeeded_at: float) -> Unexplained | None:
        """The row, if it has lasted from its first failure to its last one for long."""
        enough = len(self._refs) >= SEVERAL and self._tries >= MANY
        if not enough or self._last - self._first < LASTING_S or not self._holds(succeeded_at):
            return None
        age_s = clock.monotonic() - self._first
        return Unexplained(self._loads, self._refs, self._tries, age_s)

    def _holds(self, succeeded_at: float) -> bool:
        return self._tries > 0 and succeeded_at < self._first
