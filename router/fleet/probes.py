"""The readiness checks of load balancers, and how often each of them comes.

A gateway that is to stop goes on serving until each balancer has checked it a few times and got the
answer that it is not ready. If none checks it, it does not wait.
"""

from __future__ import annotations

from shared import clock

LOOKS = 3.5  # balancers give a backend up after 1 to 3 failed checks
SHORTEST_S = 0.2
MAX_PEERS = 64


class Probes:
    """The times of readiness checks, by the address that they come from."""

    def __init__(self) -> None:
        # peer -> when, and seconds since the one before
        self._last: dict[str, tuple[float, float]] = {}

    def note(self, peer: str) -> None:
        """A check has come."""
        now = clock.monotonic()
        before = self._last.pop(peer, None)
        if len(self._last) >= MAX_PEERS:
            del self._last[next(iter(self._last))]
        self._last[peer] = (now, 0.0 if before is None else now - before[0])

    def needed_s(self, longest_s: float) -> float:
        """How long the balancers that check regularly need to notice that this gateway stops; at
        most `longest_s`, 0 if none checks."""
        now = clock.monotonic()
        needed = 0.0
        for at, gap_s in self._last.values():
            within_s = LOOKS * max(gap_s, SHORTEST_S)
            if gap_s and now - at <= within_s:
                needed = max(needed, within_s)
        return min(needed, longest_s)
