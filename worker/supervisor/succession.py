"""What follows a device process that has ended: the next one, when, and whether on probation."""

from __future__ import annotations

import logging
import sys
from typing import Protocol

from worker.supervisor.progress import Progress
from worker.supervisor.restart import (
    DEVICE_LOST,
    RECYCLED,
    SICK,
    SUSPECT_FROM,
    WITHIN_S,
    RestartBackoff,
    RestartRequestRate,
    SickRow,
)

log = logging.getLogger(__name__)


class Ended(Protocol):
    """A device process that has ended."""

    progress: Progress

    @property
    def lived_s(self) -> float:
        """Seconds from its start to its end."""

    def cause(self, status: int) -> str:
        """The cause of its end."""


class Succession:
    """The device processes of one worker, one after the other. `suspect`: why the next one is on
    probation, '' if it is not. `not_before_s`: for which it must not request a restart."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._backoff = RestartBackoff()
        self._sick_row = SickRow()
        self._restart_requests = RestartRequestRate()
        self.suspect = ""
        self.not_before_s = 0.0

    def wait_s(self, ended: Ended, status: int) -> float | None:
        """Seconds to wait before the next process; None, and a last line, if none is to follow."""
        if status == RECYCLED:
            return self._after_recycling(ended)
        if status in (SICK, DEVICE_LOST):
            return self._after_sickness(ended, status)
        return self._after_crash(ended, status)

    def _after_crash(self, ended: Ended, status: int) -> float:
        wait_s, row = self._backoff.after(ended.lived_s), self._backoff.crashes
        cause = ended.cause(status)
        crashed = f"it crashed {row} times in a row, the last: {cause}"
        self.suspect = crashed if row >= SUSPECT_FROM else ""
        self._log_restart(ended, cause, wait_s)
        return wait_s

    def _after_sickness(self, ended: Ended, status: int) -> float | None:
        progress, cause = ended.progress, ended.cause(status)
        wait_s = self._sick_row.after(ended.lived_s, progress.running and progress.model)
        times = self._sick_row.count
        self.suspect = f"it was sick {times} times in a row, the last: {cause}"
        if wait_s is None:
            print(
                f"warmroute worker: {self._worker} ends for good: {self.suspect}", file=sys.stderr
            )
            return None
        self._log_restart(ended, cause, wait_s)
        return wait_s

    def _after_recycling(self, ended: Ended) -> float:
        """0, unless a restart is requested again and again."""
        log.info("worker %s: a new device process starts, as requested", self._worker)
        self.not_before_s = WITHIN_S if self._restart_requests.too_many() else 0.0
        if not self.not_before_s:
            return 0.0
        log.error(
            "worker %s: restarted again and again: the next device process must serve for %.0f s "
            "before it may request a restart", self._worker, self.not_before_s,
        )  # fmt: skip
        return self._backoff.after(ended.lived_s)

    def _log_restart(self, ended: Ended, cause: str, wait_s: float) -> None:
        log.error(
            "worker %s: %s after %.0f s; started again %s", self._worker, cause, ended.lived_s,
            f"in {wait_s:g} s" if wait_s else "at once",
        )  # fmt: skip
