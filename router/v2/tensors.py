"""V2 tensor data: JSON numbers to bytes and back. Types are checked while the JSON is decoded.

The JSON of one tensor is decoded by a decoder made for its datatype and nesting depth, so a
string among floats, a float among integers or a bool among numbers is refused with its place,
and a million brackets never recurse.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
import numpy as np

from router.v2 import strict
from shared import datatypes
from shared.errors import InvalidInput
from shared.tensor_bytes import pack_bytes, unpack_bytes

MAX_RANK = 16
MAX_ELEMENTS = 1 << 31
_OPENING = re.compile(rb"[ \t\r\n\[]*")
FEW = 512
SHORT = 40  # characters of a value that is shown in an error


def element_count(shape: list[int], field: str) -> int:
    """Product of `shape`, 0 for an empty tensor; InvalidInput for a negative or absurd one."""
    if len(shape) > MAX_RANK:
        raise InvalidInput(f"{field}.shape: {len(shape)} dimensions, at most {MAX_RANK}")
    if not all(0 <= dim <= MAX_ELEMENTS for dim in shape):  # a number may have 4,000 digits
        raise InvalidInput(f"{field}.shape: each dimension must be 0 to {MAX_ELEMENTS}")
    count = math.prod(shape)
    # (numpy takes no [0, 2**31, 2**31] either.)
    held = count or math.prod(dim for dim in shape if dim)
    if held > MAX_ELEMENTS:
        raise InvalidInput(f"{field}.shape: {held} elements, at most {MAX_ELEMENTS}")
    return count


@cache
def _decoder(datatype: str, depth: int) -> msgspec.json.Decoder[Any]:
    element: Any = float
    if datatype in datatypes.INTEGERS:
        element = int
    elif datatype == "BOOL":
        element = bool
    elif datatype == datatypes.BYTES:
        element = str
    for _ in range(depth):
        element = list[element]
    return msgspec.json.Decoder(element)


def _depth(raw: bytes) -> int:
    """How deep the first element is nested: the number of brackets the text opens with."""
    opening = _OPENING.match(raw)
    return opening[0].count(b"[") if opening else 0


def _nesting(shape: list[int]) -> list[int]:
    """The sizes that nested lists can show: below one of 0 there is nothing to nest."""
    return shape[: shape.index(0) + 1] if 0 in shape else shape


def from_json(raw: bytes, datatype: str, shape: list[int], field: str) -> bytes:
    """Decode the JSON array `raw` into little-endian bytes; InvalidInput names `field`.

    It is flat, or nested as `shape`; of shape [] it may be a bare value.
    """
    if datatype in datatypes.NO_JSON:
        raise InvalidInput(
            f"{field}.datatype: {datatype} has no JSON form, send it as binary over HTTP "
            "(parameters.binary_data_size)"
        )
    depth, nesting = _depth(raw), _nesting(shape)
    if depth not in (1, len(nesting)):
        raise InvalidInput(f"{field}.data: {_wrong_depth(raw, depth, shape, len(nesting))}")
    try:
        values = _decoder(datatype, depth).decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"{field}.data: {strict.explain(raw, error)}") from None
    if depth == 0:
        depth, values = 1, [values]
    code = datatypes.STRUCT.get(datatype)
    if depth == 1 and code is not None and len(values) == math.prod(shape) <= FEW:
        return _pack_few(values, code, datatype, field)
    array = _as_array(values, datatype, field)
    want = nesting if depth > 1 else [math.prod(shape)]
    if list(array.shape) != want:
        given = list(array.shape)
        raise InvalidInput(f"{field}.data: holds {given}, which does not match shape {shape}")
    if datatype == datatypes.BYTES:
        return pack_bytes([str(item).encode() for item in array.reshape(-1)])
    return array.tobytes()


def _wrong_depth(raw: bytes, depth: int, shape: list[int], nested: int) -> str:
    if depth == 0 and raw[:1] not in b"{n" and math.prod(shape) == 1 and len(raw) <= SHORT:
        return f"a bare value is for shape [], wrap it: [{raw.decode(errors='replace')}]"
    given = f"nested {depth} deep" if depth else "no list"
    want = ("one value", "a flat list")[nested] if nested < 2 else f"flat or {nested} deep"
    return f"{given}, want {want} for shape {shape}"


def _pack_few(values: list[Any], code: str, datatype: str, field: str) -> bytes:
    """A short flat tensor without numpy: 16 numbers take 0.5 us instead of 2.9."""
    try:
        return struct.pack(f"<{len(values)}{code}", *values)
    except (struct.error, OverflowError):
        raise _out_of_range(values, datatype, field) from None


def _as_array(values: list[Any], datatype: str, field: str) -> np.ndarray:
    dtype = np.dtype(object) if datatype == datatypes.BYTES else datatypes.NUMPY[datatype]
    try:
        with np.errstate(over="ignore"):
            array = np.array(values, dtype=dtype)
    except OverflowError:
        raise _out_of_range(values, datatype, field) from None
    except ValueError:
        raise InvalidInput(f"{field}.data: the lists in it are not equally long") from None
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise _out_of_range(values, datatype, field)
    return array


def _out_of_range(values: list[Any], datatype: str, field: str) -> InvalidInput:
    """The error for numbers of which at least one has no place in `datatype`: names the first."""
    least, most = datatypes.limits(datatype)
    for at, value in enumerate(_leaves(values)):
        if not least <= value <= most:
            text = str(value)
            shown = text if len(text) <= SHORT else f"{text[:SHORT]}... ({len(text)} digits)"
            return InvalidInput(
                f"{field}.data: element {at} is {shown}, {datatype} holds {least} to {most}"
            )
    return InvalidInput(f"{field}.data: a number does not fit into {datatype}")


def _leaves(values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _leaves(value)
        else:
            yield value


def _elements(data: bytes | memoryview, field: str) -> list[bytes]:
    """The elements of a BYTES tensor; InvalidInput if a length runs past the end."""
    try:
        return unpack_bytes(data)
    except ValueError as error:
        raise InvalidInput(f"{field}: {error}") from None


def check_binary(data: memoryview, datatype: str, count: int, field: str) -> None:
    """InvalidInput unless `data` holds `count` elements of `datatype`."""
    if datatype == datatypes.BYTES:
        held = len(_elements(data, field))
    else:
        size = datatypes.item_size(datatype)
        held = len(data) // size if len(data) % size == 0 else -1
    if held != count:
        raise InvalidInput(f"{field}: {len(data)} bytes do not hold {count} elements of {datatype}")
    if datatype == "BOOL" and held and np.frombuffer(data, dtype="u1").max() > 1:
        raise InvalidInput(f"{field}: an element of BOOL is one byte, 0 or 1")


def to_json(data: bytes | memoryview, datatype: str, field: str) -> list[Any]:
    """The flat JSON values of a tensor; InvalidInput if there are none. NaN and both infinities
    become null when they are written: JSON cannot write them."""
    if datatype in datatypes.NO_JSON:
        raise InvalidInput(f"{field}: {datatype} has no JSON form, only a binary one")
    if datatype == datatypes.BYTES:
        return [item.decode(errors="replace") for item in _elements(data, field)]
    try:
        values: list[Any] = np.frombuffer(data, dtype=datatypes.NUMPY[datatype]).tolist()
    except (KeyError, ValueError):
        raise InvalidInput(f"{field}: {len(data)} bytes are not {datatype[:20]}") from None
    return values
