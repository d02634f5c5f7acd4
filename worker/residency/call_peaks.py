"""Models whose calls take far more memory while they run than their copies do.

A call may take half as much as the budget, out of the reserve beside it. What it takes beyond that
counts as the copy's own bytes, in the ledger and for its next load here, until it has not been seen
for a while: a model that cannot fit with it is refused, instead of sending all others away again
and again. One large request proves nothing: it takes a few.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared import clock

SHARE = 0.5  # of the budget, for one call
FEW_CALLS = 3
REMEMBERED_S = 600.0


@dataclass(frozen=True)
class Peak:
    """Bytes over the allowance, by a call whose inputs had `size` bytes; how many such calls there
    were, and when the last one was (seconds of `clock.monotonic`)."""

    excess: int
    size: int
    calls: int
    seen: float


class CallPeaks:
    """By model. Written on the device thread, read in the event loop: peaks are replaced whole."""

    def __init__(self) -> None:
        self._peaks: dict[str, Peak] = {}

    def found(self, ref: str, excess: int, size: int) -> None:
        """A call with inputs of `size` bytes was over the allowance."""
        now, known = clock.monotonic(), self._peaks.get(ref)
        calls = known.calls if known else 0
        most = max(excess, known.excess if known else 0)
        self._peaks[ref] = Peak(most, min(size, known.size) if known else size, calls + 1, now)

    def ran(self, ref: str, size: int) -> None:
        """A call was not measured: it is like one of its size that was."""
        known = self._peaks.get(ref)
        if known is not None and size >= known.size:
            self._peaks[ref] = Peak(known.excess, known.size, known.calls + 1, clock.monotonic())

    def excess(self, ref: str) -> int:
        """Bytes to be counted beside a copy; 0 where few calls, or none for a while, took them."""
        known = self._peaks.get(ref)
        if known is None or known.calls < FEW_CALLS:
            return 0
        return known.excess if clock.monotonic() - known.seen < REMEMBERED_S else 0
