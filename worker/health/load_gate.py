"""Whether this worker may take a load order, after loads that failed through its own fault. Pure.

A worker whose loads fail at once always has a free slot, so it would win most orders of the cell.
Each failure in a row shuts its gate for twice as long; then one load is the trial.
"""

from __future__ import annotations

from shared import clock
from shared.backoff import doubled_s
from shared.errors import (
    DiskFull,
    Forbidden,
    LoadFailed,
    ModelFailed,
    OutOfMemory,
    RepositoryError,
    StoreUnavailable,
    WarmrouteError,
)

FIRST_S, LONGEST_S = 0.5, 30.0
SUSPECT_FROM = 2  # failures in a row


def is_local(error: WarmrouteError) -> bool:
    """Whether a load failed with `error` for what this worker or its host has: disk, network,
    credentials, clock. What does not fit the settings of this worker says nothing of its state."""
    lasting = isinstance(error, DiskFull) and not error.retryable
    local = isinstance(error, (DiskFull, Forbidden, StoreUnavailable)) and not lasting
    return local or type(error) is RepositoryError  # an error of the disk without a better name


def may_be_local(error: WarmrouteError) -> bool:
    """Whether it may be the worker's fault, its driver's or its libraries': then several models
    fail so, here and not elsewhere."""
    return is_local(error) or isinstance(error, (LoadFailed, ModelFailed, OutOfMemory))


class LoadGate:
    """Open, shut, or open for one load at a time."""

    def __init__(self) -> None:
        self._row = 0
        self._until = 0.0
        self.reason = ""

    def failed(self, reason: str) -> None:
        """A load failed through this worker's fault."""
        self._row += 1
        self._until = clock.monotonic() + doubled_s(self._row, FIRST_S, LONGEST_S)
        self.reason = reason

    def succeeded(self) -> None:
        """A load has succeeded: this worker can load."""
        self._row, self.reason = 0, ""

    def reopen(self) -> None:
        """What loads need was tested and works: the next load need not wait."""
        self._until = 0.0

    def is_open(self, loads: int) -> bool:
        """Whether a further load may start beside `loads` under way."""
        return self._row == 0 or (loads == 0 and clock.monotonic() >= self._until)

    @property
    def failures(self) -> int:
        """Failures in a row."""
        return self._row

    @property
    def suspect(self) -> bool:
        """Whether others should be asked to load first."""
        return self._row >= SUSPECT_FROM
