"""Tensor data as bytes: the framing of BYTES, and BF16, for which numpy has no type.

A BYTES element is a little-endian uint32 length and that many bytes (Triton's binary tensor
extension). BF16 is the upper half of a float32. The client package has its own checked copy.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np

_LENGTH = struct.Struct("<I")


def pack_bytes(items: Iterable[bytes]) -> bytes:
    """The elements of a BYTES tensor, in order, as one buffer. struct.error from 4 GiB."""
    parts: list[bytes] = []
    for item in items:
        parts += (_LENGTH.pack(len(item)), item)
    return b"".join(parts)


def unpack_bytes(data: bytes | memoryview) -> list[bytes]:
    """The elements of a BYTES tensor. ValueError if a length runs past the end of the data."""
    view, items, at = memoryview(data), [], 0
    while at < len(view):
        start = at + 4
        end = start + int.from_bytes(view[at:start], "little")
        if end > len(view) or start > len(view):
            raise ValueError("a BYTES element runs past the end of the data")
        items.append(bytes(view[start:end]))
        at = end
    return items


def bf16_to_float32(bits: np.ndarray) -> np.ndarray:
    """The values of BF16 bits (uint16, any shape) as float32, exactly."""
    return (bits.astype("<u4") << 16).view("<f4")


def float32_to_bf16(values: np.ndarray) -> np.ndarray:
    """float32 values (any shape) as BF16 bits (uint16). The lower 16 bits are cut off."""
    return (values.astype("<f4").view("<u4") >> 16).astype("<u2")
