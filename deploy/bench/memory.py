"""What memory a process takes, and whether that grows. Linux only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploy.bench.errors import BenchError

_KIB = 1024


@dataclass(frozen=True)
class Memory:
    """Bytes in memory of one process: all of them, those that no file backs, and its part of all
    where each shared page is divided by how many share it."""

    resident: int
    anonymous: int
    proportional: int


def memory_of(pid: int) -> Memory:
    """The memory of a running process; BenchError if it does not run."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError as error:
        raise BenchError(f"process {pid} does not run any more") from error
    rows = [line.split() for line in text.splitlines()[1:]]
    kib = {row[0].rstrip(":"): int(row[1]) for row in rows}
    return Memory(kib["Rss"] * _KIB, kib["Anonymous"] * _KIB, kib["Pss"] * _KIB)


def slope(values: Sequence[float]) -> float:
    """By how much `values` grow from one to the next: the least squares line through them."""
    if len(values) < 2:
        raise BenchError(f"{len(values)} value: there is no slope")
    return float(np.polyfit(np.arange(len(values)), values, 1)[0])
