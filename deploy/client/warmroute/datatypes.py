"""Open Inference Protocol datatypes: their sizes and their numpy counterparts.

BYTES has no fixed size: on the wire each element is a uint32 LE length and its bytes. FP16 and
BF16 have no JSON form (Triton, binary tensor extension). numpy has no bfloat16, so BF16 travels
as its 16 bits and the runtime reinterprets them.
"""

from __future__ import annotations

import numpy as np

NUMPY: dict[str, np.dtype] = {
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
_FROM_NUMPY = {dtype: name for name, dtype in reversed(NUMPY.items())}


def from_numpy(dtype: np.dtype) -> str:
    """The V2 name of a numpy dtype (`<u2` is UINT16); KeyError if there is none."""
    return _FROM_NUMPY[np.dtype(dtype).newbyteorder("<")]


def item_size(datatype: str) -> int:
    """Bytes of one element; KeyError for BYTES, whose elements vary."""
    return NUMPY[datatype].itemsize


def limits(datatype: str) -> tuple[float, float]:
    """The least and the greatest finite number of a datatype; KeyError for BYTES."""
    dtype = NUMPY[datatype]
    if dtype.kind == "f":
        return float(np.finfo(dtype).min), float(np.finfo(dtype).max)
    if dtype.kind == "b":
        return 0, 1
    return np.iinfo(dtype).min, np.iinfo(dtype).max
