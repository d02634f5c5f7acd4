"""The most memory that a call took while it ran, on a CPU: what the kernel counts as resident.

The heap cannot say: it counts what is in use, and a call frees what it needed before it returns.
The kernel keeps the highest resident size of a process, and resets it on request (0.1 ms).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

PROC = Path("/proc/self")


class Resident(NamedTuple):
    """Bytes: resident, of those backed by files, and the highest since the last reset."""

    now: int
    files: int
    highest: int


class Heap(Protocol):
    """The part of a device that is needed here."""

    def slack(self) -> int:
        """Unused bytes that the heap keeps, which a call takes without becoming larger."""

    def trim(self) -> None:
        """Return them to the system."""


class ResidentPeak:
    """Measures what calls take while they run. A peak below `allowance()` bytes may be missed. Used
    on the device thread."""

    def __init__(self, device: Heap, allowance: Callable[[], int], proc: Path = PROC) -> None:
        self._device = device
        self._allowance = allowance
        self._proc = proc

    def start(self) -> Resident | None:
        """Before a call; None if the kernel does not say."""
        # Slack hides a peak of its size. A trim of 500 MiB takes some 0.15 s, and few calls are
        # measured: only those larger than any before.
        if self._device.slack() >= self._allowance():
            self._device.trim()
        with suppress(OSError):
            (self._proc / "clear_refs").write_text("5")
            return self._read()
        return None

    def taken(self, before: Resident, kept: int) -> int:
        """How many bytes the call took at most, beside what it has `kept`. Pages of files are not
        counted: weights that are touched for the first time are accounted for."""
        with suppress(OSError):
            after = self._read()
            took = after.highest - before.now - max(0, after.files - before.files)
            return max(0, took - max(0, kept))
        return 0

    def _read(self) -> Resident:
        found = {}
        for line in (self._proc / "status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in ("VmRSS", "RssFile", "VmHWM"):
                found[name] = int(value.split()[0]) << 10
        return Resident(found.get("VmRSS", 0), found.get("RssFile", 0), found.get("VmHWM", 0))
