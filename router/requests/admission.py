"""The requests, and the bytes of their bodies, that one gateway handles at a time.

Decided before a body is read, so a burst costs the gateway nothing but its refusals.
"""

from __future__ import annotations

from shared.errors import Overloaded

RETRY_AFTER_S = 1.0


class Admission:
    """Counts requests and bytes. Not thread-safe: the event loop is the only caller."""

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self.requests = 0
        self.bytes = 0

    def enter(self, size: int) -> int:
        """Admit a request whose body has `size` bytes; returns that. Overloaded at a limit."""
        if self.requests >= self._max_requests:
            raise Overloaded(
                f"this gateway handles {self._max_requests} requests, its limit; retry later",
                retry_after_s=RETRY_AFTER_S,
            )
        # One body is always accepted: a limit below the largest body must not refuse it for ever.
        if self.bytes + size > self._max_bytes and self.requests > 0:
            raise Overloaded(
                f"the bodies at this gateway take {self._max_bytes} bytes, its limit; retry later",
                retry_after_s=RETRY_AFTER_S,
            )
        self.requests += 1
        self.bytes += size
        return size

    def settle(self, expected: int, size: int) -> int:
        """The body has been read, and has `size` bytes; returns that."""
        self.bytes += size - expected
        return size

    def leave(self, size: int) -> None:
        """The request has been answered."""
        self.requests -= 1
        self.bytes -= size
