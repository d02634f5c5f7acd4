"""How a device process ends, in numbers and in words, and how long to wait before the next one."""

from __future__ import annotations

import signal
from dataclasses import dataclass

DRAINED = 0
GIVEN_UP = 1  # the grace time was over, or a second signal came
MISCONFIGURED = 2
TAKEN = 3  # another process registered under this worker's id
RENEWED = 4  # it drained and left, to be replaced by a new one (`renewal.py`)
LOOP_STUCK = 70
BATCH_STUCK = 71
DEVICE_LOST = 72

_REASONS = {
    LOOP_STUCK: "the event loop stood still",
    BATCH_STUCK: "a batch ran on past its deadline",
    DEVICE_LOST: "its CUDA context was lost",
}


def describe(status: int) -> str:
    """The end of a device process, as a cause for those whose requests it ran."""
    if status < 0:
        return f"its device process was killed by {_signal_name(-status)}"
    reason = f": {_REASONS[status]}" if status in _REASONS else ""
    return f"its device process ended with status {status}{reason}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@dataclass
class Backoff:
    """The first restart is immediate; who keeps dying soon waits longer each time."""

    first_s: float = 0.5
    longest_s: float = 10.0
    settled_s: float = 30.0
    crashes: int = 0

    def after(self, lived_s: float) -> float:
        """Seconds to wait before the restart of a process that crashed after `lived_s`."""
        self.crashes = 1 if lived_s >= self.settled_s else self.crashes + 1
        if self.crashes == 1:
            return 0.0
        return min(self.first_s * 2.0 ** min(self.crashes - 2, 20), self.longest_s)
