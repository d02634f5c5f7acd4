"""The progress of a device process, readable after its death: the running batch, and a counter.

A few numbers in memory that parent and device process share. They are written in place, so they are
right at every moment, whatever kills the writer. Times are `clock.monotonic()`, which on one
machine is the same in all processes.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import zlib
from pathlib import Path

SIZE = mmap.PAGESIZE
# Words of eight bytes: each is written in one go.
_BEATS, _RUNNING, _OVERDUE_AT, _MODEL, _TEST, _TESTS = range(6)


def shared_file() -> int:
    """A descriptor of memory for one `Progress`, for a child process. The caller closes it."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("warmroute-progress")
    else:
        file, path = tempfile.mkstemp()
        Path(path).unlink()
    os.ftruncate(file, SIZE)
    return file


class Progress:
    """`start`, `end` and those of a self-test are called on the device thread, `beat` on the
    heartbeat thread; any thread may read. `file` comes from `shared_file`; without it the memory is
    this process's own.
    """

    def __init__(self, file: int = -1) -> None:
        self._numbers = memoryview(mmap.mmap(file, SIZE)).cast("Q")
        self._moments = self._numbers.cast("B").cast("d")

    def start(self, batch: int, overdue_at: float, ref: str = "") -> None:
        """The model `ref` computes batch `batch` (a number over 0); after `overdue_at` it is too
        late."""
        self._numbers[_MODEL] = zlib.crc32(ref.encode())
        self._moments[_OVERDUE_AT] = overdue_at
        self._numbers[_RUNNING] = batch

    def end(self) -> None:
        """The model call has returned or raised."""
        self._numbers[_RUNNING] = 0

    def start_test(self) -> None:
        """A self-test of the device runs."""
        self._numbers[_TESTS] += 1
        self._numbers[_TEST] = self._numbers[_TESTS]

    def end_test(self) -> None:
        """The self-test has ended."""
        self._numbers[_TEST] = 0

    def beat(self) -> None:
        """The heartbeat thread runs."""
        self._numbers[_BEATS] += 1

    @property
    def running(self) -> int:
        """The number of the batch that the model computes now, 0 if it computes none."""
        return self._numbers[_RUNNING]

    @property
    def model(self) -> int:
        """A number for the model of the running batch (else of the last one); 0 before any."""
        return self._numbers[_MODEL]

    @property
    def test(self) -> int:
        """The number of the self-test that runs now, 0 if none does."""
        return self._numbers[_TEST]

    @property
    def overdue_at(self) -> float:
        """The moment after which the running batch (else the last one) takes too long."""
        return self._moments[_OVERDUE_AT]

    @property
    def beats(self) -> int:
        """The number of calls of `beat`."""
        return self._numbers[_BEATS]
