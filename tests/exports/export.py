"""One model as an exporter writes it, how it is pushed, and what the original library answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

Arrays = dict[str, np.ndarray]
Original = Callable[[Arrays], Arrays]

TOLERANCE = {
    np.dtype(np.float16): 4e-3,
    np.dtype(np.float32): 2e-5,
    np.dtype(np.float64): 1e-9,
}


@dataclass(frozen=True)
class Export:
    """`push`: the options of `warmroute push` after the name. `original` answers with the library
    that made the file. Each of `questions` is asked alone; those of `rows`, distinct requests of
    one shape, also at the same time, where batches form if `push` allows them."""

    push: Sequence[str | Path]
    original: Original
    questions: Sequence[Arrays]
    rows: Sequence[Arrays] = field(default=())
    tolerance: float | None = None


@dataclass(frozen=True)
class Case:
    """An entry of the table: `make(folder)` writes the files below an empty folder."""

    name: str
    make: Callable[[Path], Export]


def assert_equal(got: Arrays, want: Arrays, tolerance: float | None = None) -> None:
    """The same names, datatypes, shapes and, within the datatype's precision, values."""
    assert set(got) == set(want)
    for name, expected in want.items():
        found = got[name]
        assert found.shape == expected.shape, f"{name}: {found.shape}, want {expected.shape}"
        if expected.dtype == object:
            assert found.tolist() == expected.tolist(), name
            continue
        assert found.dtype == expected.dtype, f"{name}: {found.dtype}, want {expected.dtype}"
        near = tolerance or TOLERANCE.get(expected.dtype, 0.0)
        np.testing.assert_allclose(found, expected, rtol=near, atol=near, err_msg=name)
