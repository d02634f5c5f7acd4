"""The readiness checks of load balancers, and how often each of them comes.

A gateway that is to stop goes on serving until each balancer has checked it a few times and got the
answer that it is not ready. If none checks it, it does not wait.
"""

from __future__ import annotations

from shared import clock

LOOKS = 3.5  # balancers give a backend up after 1 to 3 failed checks
SHORTEST_S = 0.2
MAX_PEERS = 64
GAPS = 4  # checks of two programs at one address alternate: the longest gap is that of either


class Probes:
    """The times of readiness checks, by who makes them: an address, and what program it says it
    is."""

    def __init__(self) -> None:
        # peer -> when, and seconds between the last few
        self._last: dict[tuple[str, str], tuple[float, list[float]]] = {}

    def note(self, address: str, program: str = "") -> None:
        """A check has come."""
        now, peer = clock.monotonic(), (address, program)
        before = self._last.pop(peer, None)
        if len(self._last) >= MAX_PEERS:
            del self._last[next(iter(self._last))]
        gaps = [] if before is None else [*before[1], now - before[0]][-GAPS:]
        self._last[peer] = (now, gaps)

    def needed_s(self, longest_s: float) -> float:
        """How long the balancers that check regularly need to notice that this gateway stops; at
        most `longest_s`, 0 if none checks."""
        now = clock.monotonic()
        needed = 0.0
        for at, gaps in self._last.values():
            within_s = LOOKS * max([SHORTEST_S, *gaps])
            if gaps and now - at <= within_s:
                needed = max(needed, within_s)
        return min(needed, longest_s)
