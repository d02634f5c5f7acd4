"""Models whose calls take far more memory while they run than their copies do.

A call may take what is held in reserve beside the budget: half as much as the budget on a CPU, a
quarter on a GPU, where four fifths of the memory are for models. What it takes beyond that counts
as the copy's own bytes, in the ledger and for its next loads, until it has not been seen for a
while: so others leave for it once, and not at every call. One large request proves nothing: it
takes a few.

What was measured never refuses a model for good, for a model that was measured has answered. A
worker in whose budget its calls do not fit offers it to the others first. If none is left it loads
it, and as much of the peak counts as fits: the model runs nearly alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shared import clock

SHARES = {"cpu": 0.5, "cuda": 0.25}  # of the budget, for one call
# Any call may take as much. A process with a tiny budget needs it for its libraries too: a budget
# of 10 MB is less than what one call of a model of 3 MB leaves in the arenas of its runtime.
FLOOR = 64 << 20
# What is counted of a peak leaves so much of the budget free: a budget that follows what other
# processes take would else evict the copy at every change.
SLACK_SHARE = 0.1
FEW_CALLS = 3
REMEMBERED_S = 600.0


def allowance(budget: int, kind: str = "cpu") -> int:
    """Bytes that a call may take while it runs without being counted, on a device of this kind."""
    return max(int(budget * SHARES[kind]), FLOOR)


def most_of_peak(budget: int, own: int) -> int:
    """How much of its peak can be counted for a copy of `own` bytes that is alone."""
    return max(0, int(budget * (1 - SLACK_SHARE)) - own)


@dataclass(frozen=True)
class Peak:
    """Bytes that calls took whose inputs had `size` bytes and more; how many such calls there were,
    and when the last one was (seconds of `clock.monotonic`)."""

    taken: int
    size: int
    calls: int
    seen: float

    def text(self) -> str:
        """As it is stored with the statistics of a model."""
        return f"{self.taken} {self.size}"


def read_peak(text: str) -> tuple[int, int] | None:
    """Bytes taken and of the inputs, from `Peak.text`; None if it is something else."""
    parts = text.split()
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
        return None
    return int(parts[0]), int(parts[1])


class CallPeaks:
    """By model. `allowed()`: what a call may take. Written on the device thread, read in the event
    loop: peaks are replaced whole."""

    def __init__(self, allowed: Callable[[], int] = lambda: 0) -> None:
        self._allowed = allowed
        self._peaks: dict[str, Peak] = {}

    def found(self, ref: str, taken: int, size: int, least: int = 1) -> None:
        """A call with inputs of `size` bytes took so many; noted if that is over the allowance by
        `least` bytes or more."""
        if taken - self._allowed() < least:
            return
        now, known = clock.monotonic(), self._peaks.get(ref)
        calls = known.calls if known else 0
        most = max(taken, known.taken if known else 0)
        self._peaks[ref] = Peak(most, min(size, known.size) if known else size, calls + 1, now)

    def ran(self, ref: str, size: int) -> None:
        """A call was not measured: it is like one of its size that was."""
        known = self._peaks.get(ref)
        if known is not None and size >= known.size:
            self._peaks[ref] = Peak(known.taken, known.size, known.calls + 1, clock.monotonic())

    def recall(self, ref: str, recorded: str) -> None:
        """What workers with such a device have recorded (`Peak.text`, '' nothing) holds here for a
        while, if this one knows nothing of the model itself."""
        found = read_peak(recorded)
        if found is not None and ref not in self._peaks:
            self._peaks[ref] = Peak(*found, FEW_CALLS, clock.monotonic())

    def known(self, ref: str) -> Peak | None:
        """The peak that a few calls have shown lately."""
        known = self._peaks.get(ref)
        if known is None or known.calls < FEW_CALLS:
            return None
        return known if clock.monotonic() - known.seen < REMEMBERED_S else None

    def excess(self, ref: str) -> int:
        """Bytes to be counted beside a copy; 0 where few calls, or none for a while, took them."""
        known = self.known(ref)
        return max(0, known.taken - self._allowed()) if known else 0
