"""Whether two answers are the same, as far as arithmetic in floating point can promise it.

Distances are in units of what may be explained by rounding: up to 1 is the same. There are two
questions. EXACT: the same row at the same place of two batches of the same size. The same kernels
run on the same numbers, so next to nothing may differ, whatever precision the model computes in;
a scale taken over the whole batch (dynamic quantisation) is far above it. ROUNDED: a row alone and
in a batch. Other kernels may run, which add in another order, at the precision of the model's
inside and not of its output.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Array = np.ndarray


class Tolerance(NamedTuple):
    """What may differ of a value: a share of the value, and a share of the row's largest value.
    `unequal`: the share of the elements that may be other integers (near ties of an argmax)."""

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
    """How far two outputs are apart, in units of `within`; FAR for another shape or kind. NaN is
    NaN, and infinity is itself."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return FAR
    if one.size == 0:
        return 0.0
    if datatype not in EPSILON:
        return _of_items(one, other, within.unequal)
    return _of_numbers(numbers(one, datatype), numbers(other, datatype), datatype, within)


def is_exact(datatype: str) -> bool:
    """Whether values of it are equal or not, with nothing between."""
    return datatype not in EPSILON


def numbers(array: Array, datatype: str) -> Array:
    """Floating point values as FP64; BF16 comes as its 16 bits."""
    if datatype == "BF16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
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
