"""Memory of a process, and its growth."""

from __future__ import annotations

import mmap
import os

import pytest

from deploy.bench.errors import BenchError
from deploy.bench.memory import memory_of, slope

MANY = 32 << 20


def test_memory_that_is_touched_counts() -> None:
    """As resident and as backed by no file."""
    before = memory_of(os.getpid())
    with mmap.mmap(-1, MANY, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as kept:
        kept.write(b"x" * MANY)
        after = memory_of(os.getpid())
    assert after.resident - before.resident > MANY / 2
    assert after.anonymous - before.anonymous > MANY / 2
    assert 0 < after.proportional <= after.resident


def test_a_process_that_is_gone_has_no_memory() -> None:
    """It is told, and no figure is made up."""
    with pytest.raises(BenchError, match="does not run any more"):
        memory_of(2**22 + 1)


def test_the_slope_is_the_growth_from_one_value_to_the_next() -> None:
    """Noise around a line hardly bends it; one value has none."""
    assert slope([5.0, 5.0, 5.0]) == pytest.approx(0)
    assert slope([10 + 2 * at + (-1) ** at for at in range(100)]) == pytest.approx(2, abs=0.01)
    with pytest.raises(BenchError, match="no slope"):
        slope([1.0])
