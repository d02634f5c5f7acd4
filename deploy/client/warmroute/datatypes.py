"""Datatypes of the Open Inference Protocol (V2) and their numpy dtypes, all little-endian.

A BYTES tensor has elements of any length. numpy has no bfloat16, so BF16 values travel as their 16
bits. FP16 and BF16 have no JSON form.
"""

from __future__ import annotations

from typing import Any

import numpy as np

NUMPY: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("bool"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BF16": np.dtype("<u2"),
}
BYTES = "BYTES"
ALL = frozenset(NUMPY) | {BYTES}
NO_JSON = frozenset({"FP16", "BF16"})
INTEGERS = frozenset(name for name, dtype in NUMPY.items() if dtype.kind in "iu") - {"BF16"}
FLOATS = {"FP16": 11, "BF16": 8, "FP32": 24, "FP64": 53}  # and the bits of their significands
_FROM_NUMPY = {dtype: name for name, dtype in reversed(NUMPY.items())}


def from_numpy(dtype: np.dtype[Any]) -> str:
    """The datatype of a numpy dtype (`<u2` is UINT16); KeyError if the protocol has none."""
    return _FROM_NUMPY[np.dtype(dtype).newbyteorder("<")]
