"""Comparison of two answers, as far as arithmetic in floating point can promise equality.

Distances are in units of what rounding may explain: up to 1 counts as equal. There are two kinds.
EXACT: the same row at the same place of two batches of the same size. The same kernels run on the
same numbers, so next to nothing may differ, whatever precision the model computes in; a scale taken
over the whole batch (dynamic quantisation) is far above it. ROUNDED: a row alone and in a batch.
Other kernels may run, which add in another order, at the precision inside of the model and not of
its output.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from shared.tensor_bytes import bf16_to_float32

Array = np.ndarray


class Tolerance(NamedTuple):
    """Allowed differences: `relative`, a share of the value, and `of_scale`, a share of the row's
    largest value. `unequal`: the share of elements that may be other integers (near ties)."""

    relative: dict[str, float]
    of_scale: dict[str, float]
    unequal: float


EPSILON = {"FP64": 2.0**-23, "FP32": 2.0**-23, "FP16": 2.0**-10, "BF16": 2.0**-7}
EXACT = Tolerance(
    {"FP64": 64 * EPSILON["FP64"], "FP32": 64 * EPSILON["FP32"], "FP16": 2.0**-8, "BF16": 2.0**-6},
    {"FP64": 16 * EPSILON["FP64"], "FP32": 16 * EPSILON["FP32"], "FP16": 2.0**-9, "BF16": 2.0**-7},
    unequal=0.0,
)
ROUNDED = Tolerance(
    {"FP64": 0.02, "FP32": 0.02, "FP16": 0.04, "BF16": 0.06},
    {"FP64": 0.01, "FP32": 0.01, "FP16": 0.03, "BF16": 0.05},
    unequal=0.02,
)
FAR = float("inf")


def distance(one: Array, other: Array, datatype: str, within: Tolerance) -> float:
    """The distance of two outputs in units of `within`; FAR for another shape or dtype. NaN equals
    NaN, and infinity equals itself."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return FAR
    if one.size == 0:
        return 0.0
    if datatype not in EPSILON:
        return _of_items(one, other, within.unequal)
    return _of_numbers(numbers(one, datatype), numbers(other, datatype), datatype, within)


def is_exact(datatype: str) -> bool:
    """Whether values of this datatype are either equal or different (integers, texts)."""
    return datatype not in EPSILON


def numbers(array: Array, datatype: str) -> Array:
    """Floating point values (any shape) as FP64; BF16 is given as its 16 bits."""
    if datatype == "BF16":
        array = bf16_to_float32(array)
    return array.astype(np.float64)


def _of_items(one: Array, other: Array, unequal: float) -> float:
    share = float(np.count_nonzero(one != other)) / one.size
    if share == 0:
        return 0.0
    return share / unequal if unequal else FAR


def _of_numbers(one: Array, other: Array, datatype: str, within: Tolerance) -> float:
    finite = np.isfinite(one) & np.isfinite(other)
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    if not np.all(finite | same):
        return FAR
    if not finite.any():
        return 0.0
    one, other = one[finite], other[finite]
    sizes = np.maximum(np.abs(one), np.abs(other))
    allowed = within.relative[datatype] * sizes + within.of_scale[datatype] * sizes.max()
    apart = np.abs(one - other)
    return float(np.max(apart / np.maximum(allowed, np.finfo(np.float64).tiny)))
