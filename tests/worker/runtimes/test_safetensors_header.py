"""The header reader accepts what the safetensors library writes, and refuses what lies."""

from __future__ import annotations

import json
import struct

import pytest
import torch
from safetensors.torch import save

from shared.errors import Corrupt
from worker.runtimes.safetensors_header import MAX_TENSORS, header_size, parse_header


def parse(raw: bytes) -> list[object]:
    size = header_size(raw[:8], len(raw))
    return list(parse_header(raw[8 : 8 + size], len(raw)))


def file_of(header: dict[str, object], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(start: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def test_what_the_library_writes_is_read():
    """Names, types, shapes and places of a real file."""
    tensors = {"a": torch.ones(2, 3), "b": torch.zeros(4, dtype=torch.bfloat16), "e": torch.ones(0)}
    raw = save(tensors, metadata={"format": "pt"})
    found = {tensor.name: tensor for tensor in parse(raw)}
    assert {name: (t.dtype, t.shape) for name, t in found.items()} == {
        name: (t.dtype, tuple(t.shape)) for name, t in tensors.items()
    }
    a = found["a"]
    assert raw[a.start : a.start + a.size] == tensors["a"].numpy().tobytes()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "too few"),
        (b"\x01\x00", "too few"),
        (struct.pack("<Q", 1 << 40), "over the limit"),
        (struct.pack("<Q", 100) + b"{}", "in a file of"),
        (struct.pack("<Q", 3) + b"{}x", "does not parse"),
        (struct.pack("<Q", 4) + b"\xff\xfe{}", "does not parse"),
        (file_of({"a": entry(0, 8, [3])}, b"x" * 8), "has 8 bytes, its shape needs 12"),
        (file_of({"a": entry(0, 12, [3])}, b"x" * 8), "its tensors end at"),
        (file_of({"a": entry(0, 8, [2])}, b"x" * 9), "its tensors end at"),
        (file_of({"a": entry(4, 12, [2])}, b"x" * 12), "leaves a gap"),
        (file_of({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, b"x" * 12), "overlaps"),
        (file_of({"a": entry(0, 8, [2]), "b": entry(0, 8, [2])}, b"x" * 8), "overlaps"),
        (file_of({"a": entry(8, 0, [2])}, b"x" * 8), "bytes, its shape needs 8"),
        (file_of({"a": entry(0, 8, [-2])}, b"x" * 8), "does not parse"),
        (file_of({"a": entry(0, 8, [2**47, 2**47])}, b"x" * 8), "has 8 bytes"),
        (file_of({"a": entry(0, 8, [1] * 17)}, b"x" * 8), "does not parse"),
        (file_of({"a": entry(0, 8, [2], "PICKLE")}, b"x" * 8), "unknown dtype"),
        (file_of({"a": {"dtype": "F32"}}, b""), "does not parse"),
        (file_of({"a": 1}, b""), "does not parse"),
        (struct.pack("<Q", 400_000) + b"[" * 400_000, "does not parse"),
    ],
)
def test_a_header_that_lies_is_refused_with_the_reason(raw, reason):
    """Sizes, offsets and types are checked before a byte of data is touched."""
    with pytest.raises(Corrupt, match=reason):
        parse(raw)


def test_too_many_tensors_are_refused():
    """A header of many empty tensors costs a worker nothing but its parsing."""
    header = {f"t{n}": entry(0, 0, [0]) for n in range(MAX_TENSORS + 1)}
    with pytest.raises(Corrupt, match="over the limit of 20000"):
        parse(file_of(header, b""))


def test_the_largest_allowed_header_is_read():
    """20,000 tensors are within the limit."""
    header = {f"t{n}": entry(0, 0, [0]) for n in range(MAX_TENSORS)}
    assert len(parse(file_of(header, b""))) == MAX_TENSORS
