"""Ctrl-C, SIGTERM and SIGHUP: the first one stops what is being done, the second one hurries.

The first signal raises KeyboardInterrupt, as Python's own handler does. One that is raised inside a
library can get lost there (seen once in 26 tries, between the start of Redis and that of S3), so it
is also remembered, and raised again at the next `check`.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType
from typing import NoReturn

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_CHECK_S = 1.0


class Interrupts:
    """Whether the user asked to stop. `hurry` is set once they did so twice."""

    def __init__(self) -> None:
        self.hurry = Event()
        self._came = False
        self._stopping = False

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal came, even if it got lost then."""
        if self._came and not self._stopping:
            raise KeyboardInterrupt

    def wait(self) -> NoReturn:
        """Do nothing until KeyboardInterrupt is raised."""
        while True:
            self.check()
            time.sleep(_CHECK_S)

    def begin_to_stop(self) -> None:
        """Nothing interrupts from here on: signals only set `hurry`."""
        self._stopping = True

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        if self._came or self._stopping:
            self.hurry.set()
        self._came = True
        if not self._stopping:
            raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[Interrupts]:
    """Handle signals in the block, and ignore them after it: everything has been stopped then."""
    interrupts = Interrupts()
    for number in STOP_SIGNALS:
        signal.signal(number, interrupts.handle)
    try:
        yield interrupts
    finally:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
