"""Numbers of one datatype converted to another: every value is kept, or an error names it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from warmroute import datatypes
from warmroute.datatypes import FLOATS, INTEGERS
from warmroute.errors import InvalidInput
from warmroute.framing import Array, widen_bf16

SHOWN = 60  # characters of an element in an error message
_LARGEST = {"FP16": 65504.0, "BF16": 3.39e38, "FP32": 3.403e38, "FP64": 1.797e308}


@dataclass(frozen=True)
class WireTensor:
    """A tensor as it is sent: a V2 datatype and an array of it (BF16 as its 16 bits, BYTES as an
    object array of `bytes`)."""

    datatype: str
    array: Array


def range_of(datatype: str) -> str:
    """The range of a numeric datatype, as a part of a sentence."""
    if datatype in FLOATS:
        return f"{datatype} goes from {-_LARGEST[datatype]:g} to {_LARGEST[datatype]:g}"
    info = np.iinfo(datatypes.NUMPY[datatype])
    return f"{datatype} goes from {info.min} to {info.max}"


def refuse(name: str, array: Array, bad: Array, why: str) -> InvalidInput:
    """An error that names the first of the `bad` elements."""
    where = np.argwhere(bad)[0].tolist()
    at = f" at {where}" if where else ""
    return InvalidInput(f"input {name!r}: {shown(array[tuple(where)])}{at} {why}")


def shown(value: Any) -> str:
    """An element as text for an error message, cut if it is long."""
    try:
        text = str(value) if isinstance(value, int | float | np.generic) else repr(value)
    except ValueError:  # Python does not print integers of more than 4300 digits
        return "a number of thousands of digits"
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def exactly(name: str, array: Array, datatype: str) -> Array:
    """An array of numbers as `datatype`, every value kept; InvalidInput names one that is not."""
    if datatype in INTEGERS:
        return _to_integers(name, array, datatype)
    made = rounded(name, array, datatype)
    bad = (widened(made, datatype) != array) & ~_nan(array)
    if array.dtype.kind in "iu" and _most(array) > 2 ** FLOATS[datatype]:
        bad = _differ(widened(made, datatype), array)  # numpy compares them as floats
    if bad.any():
        how = "float32" if datatype == "BF16" else datatypes.NUMPY[datatype].name
        way_out = f"round it with .astype(np.{how}) if that is intended"
        raise refuse(name, array, bad, f"cannot be represented exactly in {datatype}: {way_out}")
    return made


def rounded(name: str, array: Array, datatype: str) -> Array:
    """Numbers as the nearest ones of `datatype`; InvalidInput if a finite one becomes infinite."""
    made = to_floats(array, datatype)
    bad = np.isfinite(array) & ~np.isfinite(widened(made, datatype))
    if bad.any():
        raise refuse(name, array, bad, f"is out of range: {range_of(datatype)}")
    return made


def to_floats(array: Array, datatype: str) -> Array:
    """The nearest numbers of a float datatype; BF16 as its bits."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if datatype != "BF16":
            return array.astype(datatypes.NUMPY[datatype])
        bits = array.astype("<f4").view(np.uint32)
        # Round half to even: the bits that are cut off decide about the last bit that is kept.
        nearest = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
        kept = np.where(_nan(array), bits | np.uint32(0x00400000), nearest)
        return (kept >> np.uint32(16)).astype("<u2")


def widened(array: Array, datatype: str) -> Array:
    """Floats as they are sent, as numbers to compare with."""
    return widen_bf16(array) if datatype == "BF16" else array


def _to_integers(name: str, array: Array, datatype: str) -> Array:
    info = np.iinfo(datatypes.NUMPY[datatype])
    if array.dtype.kind == "f":
        whole = np.isfinite(array) & (np.trunc(array) == array)
        if not whole.all():
            raise refuse(name, array, ~whole, f"is not a whole number, want {datatype}")
        # The limits as powers of two, which floats hold exactly: 2**63 - 1 would become 2**63.
        wide = array.astype(np.float64)
        bad = (wide < float(info.min)) | (wide >= float(info.max + 1))
    elif array.size and not info.min <= int(array.min()) <= int(array.max()) <= info.max:
        # Compared as Python integers: numpy would compare UINT64 with INT64 as floats.
        exact = array.astype(object)
        bad = ((exact < info.min) | (exact > info.max)).astype(bool)
    else:
        return array.astype(datatypes.NUMPY[datatype])
    if bad.any():
        raise refuse(name, array, bad, f"is out of range: {range_of(datatype)}")
    return array.astype(datatypes.NUMPY[datatype])


def _differ(floats: Array, integers: Array) -> Array:
    pairs = zip(floats.reshape(-1).tolist(), integers.reshape(-1).tolist(), strict=True)
    return np.array([a != b for a, b in pairs], bool).reshape(integers.shape)


def _most(integers: Array) -> int:
    return max(abs(int(integers.min())), int(integers.max())) if integers.size else 0


def _nan(array: Array) -> Array:
    return np.isnan(array) if array.dtype.kind == "f" else np.zeros(array.shape, bool)
