"""How many entries to read at a time, so that what is read has a bounded size.

Redis limits a read of a stream by entries, not by bytes. So a reader goes by what it has read
lately, and reads few after a pause, when anything may have come.
"""

from __future__ import annotations

from shared import clock

MOST_BYTES = 64 << 20
FIRST_COUNT = 16
PAUSE_S = 1.0
DECAY = 0.9  # of the largest entry, per read


class ReadSize:
    """`most`: entries that one read may have."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._largest = 0.0
        self._read_at = float("-inf")

    def count(self) -> int:
        """Entries for the next read."""
        if clock.monotonic() - self._read_at > PAUSE_S:
            return min(FIRST_COUNT, self._most)
        return max(1, min(self._most, int(MOST_BYTES / max(self._largest, 1.0))))

    def note(self, largest: int) -> None:
        """The last read has ended; bytes of its largest entry."""
        self._largest = max(float(largest), DECAY * self._largest)
        self._read_at = clock.monotonic()
