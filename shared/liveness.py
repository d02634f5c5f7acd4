"""Whether a connection that waits for answers is alive: it has received, or sent, something lately.

An upload takes as long as the line is slow, and does not count as silence. What counts is what the
other side has acknowledged, not what was handed to the system. A proxy on the way, or the other
side's system, may take some megabytes at once and pass them on slowly: that time is granted for
what is in flight.
"""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios
from collections import deque

LOOKS = 5  # at what was sent, in the time after which a silent connection is given up
HIDDEN_BYTES, SLOW_BYTES_PER_S = 8 << 20, 1 << 20  # buffers on the way, and a slow line behind


class Liveness:
    """Counts the commands of one connection. `now`: seconds of the event loop's clock."""

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport
        self._sizes: deque[int] = deque()  # of the commands that were not answered
        self._in_flight = self._written = self._sent = 0
        self._alive = 0.0

    def wrote(self, size: int, now: float) -> None:
        """A command of `size` bytes was written."""
        if not self._sizes:
            self._alive = now
        self._sizes.append(size)
        self._in_flight += size
        self._written += size

    def received(self, now: float) -> None:
        """Bytes of an answer have arrived."""
        self._alive = now

    def answered(self) -> None:
        """The oldest command has its answer."""
        self._in_flight -= self._sizes.popleft()

    def left_s(self, now: float, timeout_s: float) -> float:
        """Seconds until the connection counts as silent, 0 or less if it does now."""
        sent = self._written - self._unsent()
        if sent > self._sent:
            self._sent, self._alive = sent, now
        hidden_s = min(self._in_flight, HIDDEN_BYTES) / SLOW_BYTES_PER_S
        return timeout_s + hidden_s - (now - self._alive)

    def _unsent(self) -> int:
        """Bytes that the other side has not acknowledged, here and in the system's buffer."""
        size = self._transport.get_write_buffer_size()
        try:
            sock = self._transport.get_extra_info("socket")
            queued = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
            return size + int.from_bytes(queued, sys.byteorder)
        except (OSError, ValueError):  # closed, or a system without it
            return size
