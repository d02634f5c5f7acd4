"""Stalls: an event loop that does not turn, a batch or a self-test that does not end, a process
without heartbeat.

The watchdog runs on the heartbeat thread, so it sees a blocked event loop. A stall cannot be
repaired from within: the process ends, and its parent starts another.
"""

from __future__ import annotations

import faulthandler
import logging
import sys

from shared import clock
from worker.supervisor.progress import Progress
from worker.supervisor.restart import BATCH_STUCK, DEVICE_LOST, LOOP_STUCK

log = logging.getLogger(__name__)

BLOCKED_S = 5.0  # after which the stacks of a blocked event loop are logged
SELF_TEST_S = 20.0  # for a tiny computation, behind work that the device has queued


class StallDetector:
    """How long a value has not changed, in ticks of its observer. So a pause of the whole machine
    or of both processes, in which the observer did not run either, does not count."""

    def __init__(self, tick_s: float) -> None:
        self._tick_s = tick_s
        self._ticks = 0
        self._last: object = None

    def observe(self, value: object) -> float:
        """Observe once per tick; seconds for which the value has been the same."""
        self._ticks = self._ticks + 1 if value == self._last else 0
        self._last = value
        return self._ticks * self._tick_s

    def reset(self) -> None:
        """Begin to count again."""
        self._ticks = 0


class Watchdog:
    """Detects a stuck event loop and a stuck batch. `check` once per `tick_s`.

    `stuck_s`: how long the event loop may stand still. `patience_s`: how long any batch may run,
    even past its deadline, so that one short deadline cannot end a process.
    """

    def __init__(
        self, progress: Progress, *, tick_s: float, stuck_s: float, patience_s: float
    ) -> None:
        self._progress = progress
        self._stuck_s = stuck_s
        self._patience_s = patience_s
        self._loop, self._batch = StallDetector(tick_s), StallDetector(tick_s)
        self._test = StallDetector(tick_s)
        self._logged = False

    def check(self, turns: int) -> int:
        """The exit status to end this process with, 0 to go on. `turns` of the event loop grow
        while it runs."""
        return self._check_loop(turns) or self._check_test() or self._check_batch()

    def _check_loop(self, turns: int) -> int:
        blocked_s = self._loop.observe(turns)
        if blocked_s > self._stuck_s:
            log.critical("stuck: the event loop stood still for %.0f s", blocked_s)
            _log_stacks()
            return LOOP_STUCK
        if blocked_s < BLOCKED_S:
            self._logged = False
        elif not self._logged:
            self._logged = True
            log.warning("the event loop has stood still for %.0f s", blocked_s)
            _log_stacks()
        return 0

    def _check_test(self) -> int:
        test = self._progress.test
        if self._test.observe(test) < SELF_TEST_S or not test:
            return 0
        log.critical("stuck: the device has not answered a self-test for %.0f s", SELF_TEST_S)
        _log_stacks()
        return DEVICE_LOST

    def _check_batch(self) -> int:
        batch = self._progress.running
        ran_s = self._batch.observe(batch)
        overdue = clock.monotonic() > self._progress.overdue_at
        if not batch or ran_s < self._patience_s or not overdue:
            return 0
        log.critical("stuck: batch %d still runs after %.0f s, past its deadline", batch, ran_s)
        _log_stacks()
        return BATCH_STUCK


def _log_stacks() -> None:
    """Write the stack of every thread to standard error. Works while C code holds the lock."""
    if sys.__stderr__ is not None:
        faulthandler.dump_traceback(sys.__stderr__, all_threads=True)
