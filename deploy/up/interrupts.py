"""Ctrl-C and SIGTERM while the stack is being built, before an event loop looks after them.

The handler raises KeyboardInterrupt, as Python's own does. One that is raised inside a library can
get lost there (seen once in 26 tries, between the start of Redis and that of S3), so it is also
remembered, and raised again at the next step.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Whether the user asked to stop."""

    def __init__(self) -> None:
        self._came = False

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal came, whatever became of it then."""
        if self._came:
            raise KeyboardInterrupt

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        self._came = True
        raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Handle signals in the block, and none after it: then everything is being stopped already.

    Gives the function to call between steps."""
    interrupts = Interrupts()
    for number in STOP_SIGNALS:
        signal.signal(number, interrupts.handle)
    try:
        yield interrupts.check
    finally:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
