"""The datatypes of the Open Inference Protocol: one row each, with its name in every library.

BYTES has no fixed size: on the wire each element is a uint32 LE length and its bytes. FP16 and
BF16 have no JSON form (Triton, binary tensor extension). numpy has no bfloat16, so BF16 travels
as its 16 bits and the runtime reinterprets them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Datatype(NamedTuple):
    """One datatype of fixed size. `numpy`: dtype of an array on the wire (little-endian). `struct`:
    its code in Python's struct, '' if JSON cannot carry it. `torch`, `safetensors`: its names
    there. `onnx`: X in onnxruntime's `tensor(X)`, '' if onnxruntime takes none from numpy."""

    numpy: np.dtype
    struct: str
    torch: str
    safetensors: str
    onnx: str


TABLE = {
    "BOOL": Datatype(np.dtype("bool"), "?", "bool", "BOOL", "bool"),
    "UINT8": Datatype(np.dtype("u1"), "B", "uint8", "U8", "uint8"),
    "UINT16": Datatype(np.dtype("<u2"), "H", "uint16", "U16", "uint16"),
    "UINT32": Datatype(np.dtype("<u4"), "I", "uint32", "U32", "uint32"),
    "UINT64": Datatype(np.dtype("<u8"), "Q", "uint64", "U64", "uint64"),
    "INT8": Datatype(np.dtype("i1"), "b", "int8", "I8", "int8"),
    "INT16": Datatype(np.dtype("<i2"), "h", "int16", "I16", "int16"),
    "INT32": Datatype(np.dtype("<i4"), "i", "int32", "I32", "int32"),
    "INT64": Datatype(np.dtype("<i8"), "q", "int64", "I64", "int64"),
    "FP16": Datatype(np.dtype("<f2"), "", "float16", "F16", "float16"),
    "FP32": Datatype(np.dtype("<f4"), "f", "float32", "F32", "float"),
    "FP64": Datatype(np.dtype("<f8"), "d", "float64", "F64", "double"),
    "BF16": Datatype(np.dtype("<u2"), "", "bfloat16", "BF16", ""),
}
BYTES = "BYTES"
ALL = frozenset(TABLE) | {BYTES}
NUMPY = {name: row.numpy for name, row in TABLE.items()}
STRUCT = {name: row.struct for name, row in TABLE.items() if row.struct}
INTEGERS = frozenset(name for name, row in TABLE.items() if row.numpy.kind in "iu") - {"BF16"}
NO_JSON = frozenset(name for name, row in TABLE.items() if not row.struct)
ONNX = {f"tensor({row.onnx})": name for name, row in TABLE.items() if row.onnx}
ONNX["tensor(string)"] = BYTES
_FROM_NUMPY = {dtype: name for name, dtype in reversed(NUMPY.items())}


def from_numpy(dtype: np.dtype) -> str:
    """The protocol's name of a numpy dtype (`<u2` is UINT16); KeyError if it has none."""
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
