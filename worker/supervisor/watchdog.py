"""Whether a device process still gets on: its event loop turns, its batches end.

Runs on the heart's thread, so it sees what the event loop, when blocked, cannot. What it finds
stuck cannot be helped from within: the process ends, and its parent starts another.
"""

from __future__ import annotations

import faulthandler
import logging
import sys

from shared import clock
from worker.supervisor.progress import Progress
from worker.supervisor.restart import BATCH_STUCK, LOOP_STUCK
from worker.supervisor.stall_detector import StallDetector

log = logging.getLogger(__name__)

BLOCKED_S = 5.0  # an event loop silent for so long is worth a look at what it does


class Watchdog:
    """`look` once per `tick_s`.

    `stuck_s`: how long the event loop may stand still. `patience_s`: how long any batch may run,
    even past its deadline: one caller who cannot wait must not end a process.
    """

    def __init__(
        self, progress: Progress, *, tick_s: float, stuck_s: float, patience_s: float
    ) -> None:
        self._progress = progress
        self._stuck_s = stuck_s
        self._patience_s = patience_s
        self._loop, self._batch = StallDetector(tick_s), StallDetector(tick_s)
        self._shown = False

    def look(self, turns: int) -> int:
        """The exit status to end this process with, 0 to go on. `turns` of the event loop grow
        while it runs."""
        return self._look_at_loop(turns) or self._look_at_batch()

    def _look_at_loop(self, turns: int) -> int:
        silent_s = self._loop.seen(turns)
        if silent_s > self._stuck_s:
            log.critical("stuck: the event loop stood still for %.0f s", silent_s)
            _show_stacks()
            return LOOP_STUCK
        if silent_s < BLOCKED_S:
            self._shown = False
        elif not self._shown:
            self._shown = True
            log.warning("the event loop has stood still for %.0f s", silent_s)
            _show_stacks()
        return 0

    def _look_at_batch(self) -> int:
        batch = self._progress.running
        ran_s = self._batch.seen(batch)
        overdue = clock.monotonic() > self._progress.overdue_at
        if not batch or ran_s < self._patience_s or not overdue:
            return 0
        log.critical("stuck: batch %d still runs after %.0f s, past its deadline", batch, ran_s)
        _show_stacks()
        return BATCH_STUCK


def _show_stacks() -> None:
    """What every thread does, on the standard error output. Works while the lock is held by C."""
    if sys.__stderr__ is not None:
        faulthandler.dump_traceback(sys.__stderr__, all_threads=True)
