"""Tensor data on the wire: raw little-endian row-major bytes, or JSON values, to numpy arrays.

An element of a BYTES tensor is framed by its length as a uint32 LE. Every size is checked against
the datatype and the shape before an array is made, and each error names the field.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from warmroute import datatypes
from warmroute.errors import BadResponse, InvalidInput

Array = npt.NDArray[Any]
Buffer = bytes | bytearray | memoryview
MAX_ELEMENT_BYTES = (1 << 32) - 1
_LENGTH = struct.Struct("<I")
_JSON_TYPES: dict[str, tuple[set[type], str]] = {
    "BOOL": ({bool}, "true or false"),
    datatypes.BYTES: ({str}, "text"),
    **{name: ({int}, "a whole number") for name in datatypes.INTEGERS},
    **{name: ({int, float, type(None)}, "a number or null") for name in ("FP32", "FP64")},
}


def join_bytes(name: str, array: Array) -> bytes:
    """The elements (each `bytes`) of an object array, framed; InvalidInput if one is too long."""
    parts: list[bytes] = []
    for raw in array.reshape(-1).tolist():
        if len(raw) > MAX_ELEMENT_BYTES:
            raise InvalidInput(
                f"input {name!r}: an element has {len(raw)} bytes, at most {MAX_ELEMENT_BYTES}"
            )
        parts += (_LENGTH.pack(len(raw)), raw)
    return b"".join(parts)


def split_bytes(raw: Buffer, field: str) -> list[bytes]:
    """The elements of a BYTES tensor; BadResponse where a length runs past the end of the data."""
    view, elements, at = memoryview(raw), list[bytes](), 0
    while at < len(view):
        if at + _LENGTH.size > len(view):
            raise BadResponse(
                field, f"element {len(elements)} is cut off in its length", "4 bytes of length"
            )
        (size,) = _LENGTH.unpack_from(view, at)
        at += _LENGTH.size
        if at + size > len(view):
            left = len(view) - at
            raise BadResponse(field, f"element {len(elements)} has {left} bytes", f"{size} bytes")
        elements.append(bytes(view[at : at + size]))
        at += size
    return elements


def from_binary(datatype: str, shape: Sequence[int], raw: Buffer, field: str = "data") -> Array:
    """Raw tensor bytes as a new array of `shape`, writable and independent of `raw`.

    BF16 becomes float32, which holds every BF16 value exactly; BYTES an object array of `bytes`.

    Raises:
        BadResponse: the bytes do not hold exactly that many elements; `field` is named.
    """
    count = math.prod(shape)
    if datatype == datatypes.BYTES:
        elements = split_bytes(raw, field)
        if len(elements) != count:
            raise BadResponse(field, f"{len(elements)} elements", f"{count} for shape {shape}")
        return _shaped(_object_array(elements), shape, field)
    dtype, size = datatypes.NUMPY[datatype], memoryview(raw).nbytes
    if size != count * dtype.itemsize:
        want = f"{count * dtype.itemsize} for {datatype} of shape {list(shape)}"
        raise BadResponse(field, f"{size} bytes", want)
    if datatype == "BOOL" and size and np.frombuffer(raw, np.uint8).max() > 1:
        raise BadResponse(field, "a byte that is neither 0 nor 1", "BOOL data")
    array = np.frombuffer(raw, dtype)
    if datatype == "BF16":
        return _shaped(widen_bf16(array), shape, field)
    return _shaped(array.copy(), shape, field)


def from_json(datatype: str, shape: Sequence[int], data: Any, field: str = "data") -> Array:
    """Tensor data that came as JSON, flat or nested as `shape`; null is NaN.

    Raises:
        BadResponse: number, kind or range of the values do not fit; `field` is named.
    """
    if datatype in datatypes.NO_JSON:
        raise BadResponse(field, f"JSON values of {datatype}", "binary data, its only form")
    elements = _flat(data, shape, field)
    kinds, form = _JSON_TYPES[datatype]
    for at, element in enumerate(elements):
        if type(element) not in kinds:
            raise BadResponse(f"{field}[{at}]", f"a {type(element).__name__}", form)
    if datatype == datatypes.BYTES:
        return _shaped(_object_array([text.encode() for text in elements]), shape, field)
    try:
        with np.errstate(over="raise"):
            numbers: Array = np.array(elements, datatypes.NUMPY[datatype])
    except (OverflowError, FloatingPointError):
        raise BadResponse(field, f"a number outside of {datatype}", f"{datatype} data") from None
    return _shaped(numbers, shape, field)


def widen_bf16(bits: Array) -> Array:
    """BF16 values, given as their 16 bits, as float32 of the same values."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _flat(data: Any, shape: Sequence[int], field: str) -> list[Any]:
    """The elements of JSON lists in row-major order."""
    if not isinstance(data, list):
        if shape:
            raise BadResponse(field, f"a {type(data).__name__}", "a list")
        return [data]
    level: list[Any] = [data]
    for size in shape if data and isinstance(data[0], list) else [math.prod(shape)]:
        if not all(isinstance(part, list) and len(part) == size for part in level):
            raise BadResponse(field, "lists of other lengths", f"data of shape {list(shape)}")
        level = list(chain.from_iterable(level))
    return level


def _object_array(elements: list[bytes]) -> Array:
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array


def _shaped(array: Array, shape: Sequence[int], field: str) -> Array:
    try:
        return array.reshape(tuple(shape))
    except (ValueError, OverflowError):  # no elements, but dimensions larger than numpy allows
        raise BadResponse(field, f"shape {list(shape)}", "a shape that numpy can hold") from None
