"""How a device process ends, and when the next one starts.

A process that crashed is restarted with a back-off. A process that requests a restart drains,
leaves, and ends with `RECYCLED`; its parent starts the next one at once, with the same models. That
is not a crash: it adds nothing to the back-off and charges no request. A process that requests it
too often must not do so for a while: a new process does not solve its problem.

A process that loses its device, or finds itself sick, is restarted a few times. After that the
worker ends for good: what is wrong is not to be mended by a restart.
"""

from __future__ import annotations

import signal
from collections import deque
from dataclasses import dataclass

from shared import clock
from shared.backoff import doubled_s

DRAINED = 0
GIVEN_UP = 1  # the grace time was over, or a second signal came
MISCONFIGURED = 2
TAKEN = 3  # another process registered under this worker's id, or has its GPU
RECYCLED = 4  # drained and left, to be replaced by a new process
LOOP_STUCK = 70
BATCH_STUCK = 71
DEVICE_LOST = 72
DEVICE_ASSERT = 73  # an input made device code stop; the request is to blame, not the device
SICK = 74  # drained and left: its host or its device fails, the message `sick` has the reason

SETTLED_S = 30.0  # a process that lived for that time ends a row of crashes
SUSPECT_FROM = 3  # crashes in a row: from then on the next process is on probation
MAX_REQUESTS, WITHIN_S = 3, 600.0

_REASONS = {
    LOOP_STUCK: "the event loop stood still",
    BATCH_STUCK: "a batch ran on past its deadline",
    DEVICE_LOST: "its device failed a self-test",
    DEVICE_ASSERT: "an input made its device stop at an assertion",
    SICK: "it found itself sick",
}


def describe(status: int) -> str:
    """The end of a device process, as a cause for the callers of the requests that it ran."""
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
class RestartBackoff:
    """The first restart is immediate; each further crash soon after its start waits longer."""

    first_s: float = 0.5
    longest_s: float = 10.0
    settled_s: float = SETTLED_S
    crashes: int = 0

    def after(self, lived_s: float) -> float:
        """Seconds to wait before the restart of a process that crashed after `lived_s`."""
        self.crashes = 1 if lived_s >= self.settled_s else self.crashes + 1
        if self.crashes == 1:
            return 0.0
        return doubled_s(self.crashes - 1, self.first_s, self.longest_s)


@dataclass
class SickRow:
    """Device processes of one worker that lost their device or left as sick, in a row: one that
    lived for `settled_s` ends it. `most` of them end the worker.

    A model whose code breaks the device breaks it again and again, which must not end a worker: of
    losses in a row while the same model ran only the first counts.
    """

    most: int = 5
    first_s: float = 5.0
    longest_s: float = 60.0
    settled_s: float = 1800.0  # a disk is found sick after 600
    count: int = 0
    counted: int = 0
    model: int = 0

    def after(self, lived_s: float, model: int = 0) -> float | None:
        """Seconds to wait before the restart of a process that lived for `lived_s`; None if none is
        to follow. `model`: a number for the model that ran when the device was lost, 0 for none."""
        if lived_s >= self.settled_s:
            self.count = self.counted = self.model = 0
        self.count += 1
        self.counted += not model or model != self.model
        self.model = model
        if self.counted >= self.most:
            return None
        return 0.0 if self.count == 1 else doubled_s(self.count - 1, self.first_s, self.longest_s)


class RestartRequest:
    """In the device process: whether it asks its parent for a restart, or leaves as sick. `reason`
    is '' if it does neither."""

    def __init__(self) -> None:
        self.reason = ""
        self._sick = False
        self._not_before = 0.0

    def not_before(self, seconds: float) -> None:
        """Refuse requests for the next `seconds`."""
        self._not_before = clock.monotonic() + seconds

    def request(self, reason: str) -> bool:
        """Whether a restart is requested from now on; False while that is refused."""
        if not self.reason and clock.monotonic() >= self._not_before:
            self.reason = reason
        return bool(self.reason)

    def leave_sick(self, reason: str) -> None:
        """This process leaves: its device or its host fails."""
        self.reason, self._sick = reason, True

    def withdraw(self) -> None:
        """This process was asked to stop: no process is to follow it."""
        self.reason, self._sick = "", False

    @property
    def status(self) -> int:
        """The exit status once it has drained."""
        return SICK if self._sick else RECYCLED if self.reason else DRAINED


class RestartRequestRate:
    """In the parent: how often its device processes have asked for a restart."""

    def __init__(self, most: int = MAX_REQUESTS, within_s: float = WITHIN_S) -> None:
        self._within_s = within_s
        self._times: deque[float] = deque(maxlen=most)

    def too_many(self) -> bool:
        """Count a request, now. Whether it is the `most`-th within the time."""
        now = clock.monotonic()
        self._times.append(now)
        return len(self._times) == self._times.maxlen and now - self._times[0] < self._within_s
