"""Rows to try a model with: generated, all different, and of several kinds.

A model that mixes rows may do so for some values only: it may drop negative ones, or clip large
ones. So rows are near the example, small, large, negative, huge, positive, zero and normal; the
first few differ most, as a short trial uses no others. Integers stay in the range of the example:
they may be indices, and on a GPU an index out of range ends the process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum

import numpy as np
from numpy.random import (  # here: this import is slow, and a load must not wait for it
    Generator,
    default_rng,
)

from shared import datatypes
from shared.manifest import TensorSpec
from shared.tensor_bytes import bf16_to_float32, float32_to_bf16

Arrays = dict[str, np.ndarray]

TRIES = 8  # to make a row that differs from all others
TEXTS = (b"a", b"b c", b"0", b"1", b"22")
DIGITS = (b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7")
FLOATS = frozenset({"FP16", "BF16", "FP32", "FP64"})
LARGE = 20.0
HUGE = 3e4  # beyond the 8 and 12 bits of pictures, and still in FP16
ZEROS = 7  # place among the kinds of rows


class Range(Enum):
    """How far rows are from the example's: of all kinds, near it, or its own rows only."""

    WIDE = "wide"
    NEAR = "near"
    GIVEN = "given"


def made(
    specs: Sequence[TensorSpec], example: Arrays, count: int, of: Range, seed: int = 0
) -> list[Arrays]:
    """`count` single rows ([1, ...] each) like the rows of `example` ([n, ...]). They are different
    as far as datatype and range allow."""
    random = default_rng([seed, *of.value.encode()])
    rows: list[Arrays] = []
    seen: set[bytes] = set()
    for kind in range(count):
        row = _row(specs, example, kind, of, random)
        for _ in range(TRIES):
            if key(row) not in seen:
                break
            row = _row(specs, example, kind + 1, of, random)
        seen.add(key(row))
        rows.append(row)
    return rows


def key(row: Arrays) -> bytes:
    """Bytes that are equal for equal rows."""
    return b"|".join(_bytes(array) for array in row.values())


def from_floats(values: np.ndarray, datatype: str) -> np.ndarray:
    """FP64 values (any shape) as an array of a floating point datatype; BF16 as its 16 bits."""
    if datatype != "BF16":
        return values.astype(datatypes.NUMPY[datatype])
    return float32_to_bf16(values)


def _bytes(array: np.ndarray) -> bytes:
    return repr(array.tolist()).encode() if array.dtype == object else array.tobytes()


def _row(
    specs: Sequence[TensorSpec], example: Arrays, kind: int, of: Range, random: Generator
) -> Arrays:
    """One row, of the inputs that the example has: an optional input may be left out."""
    given = [spec for spec in specs if spec.name in example]
    return {spec.name: _tensor(spec, example[spec.name], kind, of, random) for spec in given}


def _tensor(
    spec: TensorSpec, given: np.ndarray, kind: int, of: Range, random: Generator
) -> np.ndarray:
    row = given[[kind % len(given)]]
    if of is Range.GIVEN or row.size == 0:
        return row
    if spec.datatype == datatypes.BYTES:
        return _texts(given, row.shape, of, random)
    if spec.datatype == "BOOL":
        return random.integers(0, 2, row.shape).astype(bool)
    if spec.datatype in FLOATS:
        return from_floats(_floats(_as_floats(row, spec.datatype), kind, of, random), spec.datatype)
    return _integers(spec, given, row.shape, of, random)


def within(spec: TensorSpec, value: int) -> int:
    """The value nearest to `value` that the input's range allows."""
    least = value if spec.minimum is None else max(value, spec.minimum)
    return least if spec.maximum is None else min(least, spec.maximum)


def _as_floats(row: np.ndarray, datatype: str) -> np.ndarray:
    if datatype == "BF16":
        row = bf16_to_float32(row)
    return row.astype(np.float64)


def _floats(base: np.ndarray, kind: int, of: Range, random: Generator) -> np.ndarray:
    normal = random.standard_normal(base.shape)
    kinds: tuple[Callable[[], np.ndarray], ...] = (
        lambda: base + 0.1 * _spread(base) * normal, lambda: 0.003 * normal,
        lambda: LARGE * (normal + np.sign(normal)), lambda: -np.abs(normal) - 0.1,
        lambda: HUGE * np.tanh(normal + np.sign(normal)), lambda: 3 * np.abs(normal) + 0.1,
        lambda: random.random(base.shape), lambda: np.zeros(base.shape), lambda: normal,
    )  # fmt: skip
    if of is Range.NEAR:
        return kinds[0]()
    turn = kind % len(kinds)
    # Zero is zero once; a second row of it would be the same.
    return kinds[turn]() if turn != ZEROS or kind < len(kinds) else -normal


def _spread(base: np.ndarray) -> float:
    return float(base.std()) or 1.0 if np.isfinite(base).all() else 1.0


def _integers(
    spec: TensorSpec, given: np.ndarray, shape: tuple[int, ...], of: Range, random: Generator
) -> np.ndarray:
    low, high = int(given.min()), int(given.max())
    if of is Range.WIDE:
        low, high = within(spec, min(low, 0)), within(spec, max(high, 1))
    return random.integers(low, high, shape, dtype=given.dtype, endpoint=True)


def _texts(given: np.ndarray, shape: tuple[int, ...], of: Range, random: Generator) -> np.ndarray:
    known = [bytes(text) for text in given.reshape(-1) if text]
    if of is Range.WIDE:
        choice = [*known, *TEXTS]
    else:  # an input of numbers takes other numbers
        choice = [*known, *DIGITS] if all(text.isdigit() for text in known) else known
    array = np.empty(shape, dtype=object)
    array.reshape(-1)[:] = [choice[random.integers(len(choice))] for _ in range(array.size)]
    return array
