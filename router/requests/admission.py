"""What one gateway may have in hand: requests, and bytes of their bodies.

Decided before a body is read, so that a burst costs the gateway nothing but its refusals. Who is
admitted leaves in the end, whatever became of the request.
"""

from __future__ import annotations

from aiohttp import web

from shared.errors import Overloaded

RETRY_AFTER_S = 1.0


class Admission:
    """Counts what is in hand. Not for threads: the event loop is the only caller."""

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self.requests = 0
        self.bytes = 0

    def enter(self, size: int) -> int:
        """Admit a request whose body has `size` bytes; returns that. Overloaded at a limit."""
        if self.requests >= self._max_requests:
            raise Overloaded(
                f"this gateway has its limit of {self._max_requests} requests in hand",
                retry_after_s=RETRY_AFTER_S,
            )
        # One body is always taken: a limit below the largest body must not refuse it for ever.
        if self.bytes + size > self._max_bytes and self.requests > 0:
            raise Overloaded(
                f"this gateway has its limit of {self._max_bytes} bytes of bodies in hand",
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
        """The request is answered."""
        self.requests -= 1
        self.bytes -= size


def expected_bytes(request: web.Request, limit: int) -> int:
    """What the body will take: as declared, or the most there may be where nothing is known."""
    headers = request.headers
    declared = headers.get("Content-Length")  # a number: else it would have been no HTTP
    if declared is None or "Content-Encoding" in headers:
        return limit
    return min(int(declared), limit)  # more is refused unread
