"""The header of a safetensors file, read without trust: every number is checked before use.

Layout: uint64 LE length of the header, the header (JSON), then the bytes of all tensors, without
holes. Limits bound the time and memory that a hostile header can cost.
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

import msgspec
import torch
from msgspec import Meta, Struct

from shared.errors import Corrupt
from worker.runtimes import dtypes

MAX_HEADER_BYTES = 16 << 20
MAX_TENSORS = 20_000
MAX_DIMENSIONS = 16
METADATA = "__metadata__"

Size = Annotated[int, Meta(ge=0, le=2**48)]


class _Entry(Struct, forbid_unknown_fields=True):
    dtype: str
    shape: Annotated[list[Size], Meta(max_length=MAX_DIMENSIONS)]
    data_offsets: tuple[Size, Size]


_header = msgspec.json.Decoder(dict[str, msgspec.Raw])
_entry = msgspec.json.Decoder(_Entry)


class StoredTensor(NamedTuple):
    """A tensor of the file: `start` is its offset in the whole file, in bytes."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    size: int


def header_size(prefix: bytes, file_size: int) -> int:
    """Bytes of the header, from the first 8 bytes of a file of `file_size` bytes; else Corrupt."""
    if len(prefix) < 8:
        raise Corrupt(f"safetensors: {file_size} bytes are too few for a header")
    size = int.from_bytes(prefix[:8], "little")
    if size > MAX_HEADER_BYTES:
        raise Corrupt(f"safetensors: header of {size} bytes, over the limit of {MAX_HEADER_BYTES}")
    if 8 + size > file_size:
        raise Corrupt(f"safetensors: header of {size} bytes in a file of {file_size}")
    return size


def parse_header(header: bytes, file_size: int) -> list[StoredTensor]:
    """The tensors of a file in the order of their bytes; Corrupt unless they fill it exactly."""
    try:
        raw = _header.decode(header)
        raw.pop(METADATA, None)
        if len(raw) > MAX_TENSORS:
            raise Corrupt(f"safetensors: {len(raw)} tensors, over the limit of {MAX_TENSORS}")
        entries = {name: _entry.decode(value) for name, value in raw.items()}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt(f"safetensors: the header does not parse: {error}") from error
    data = 8 + len(header)
    tensors = [_stored(name, entry, data) for name, entry in entries.items()]
    tensors.sort(key=lambda tensor: (tensor.start, tensor.size))
    _check_filled(tensors, data, file_size)
    return tensors


def _stored(name: str, entry: _Entry, data: int) -> StoredTensor:
    dtype = dtypes.SAFETENSORS.get(entry.dtype)
    if dtype is None:
        raise Corrupt(f"safetensors: tensor {name[:80]!r} has unknown dtype {entry.dtype[:20]!r}")
    start, end = entry.data_offsets
    size = math.prod(entry.shape) * dtype.itemsize
    if end - start != size:
        raise Corrupt(
            f"safetensors: tensor {name[:80]!r} has {end - start} bytes, its shape needs {size}"
        )
    return StoredTensor(name, dtype, tuple(entry.shape), data + start, size)


def _check_filled(tensors: list[StoredTensor], data: int, file_size: int) -> None:
    at = data
    for tensor in tensors:
        if tensor.start != at:
            raise Corrupt(
                f"safetensors: tensor {tensor.name[:80]!r} overlaps another, or leaves a gap"
            )
        at += tensor.size
    if at != file_size:
        raise Corrupt(f"safetensors: the file has {file_size} bytes, its tensors end at {at}")
