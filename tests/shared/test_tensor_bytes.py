"""BYTES framing and BF16, once for gateway and worker."""

from __future__ import annotations

import numpy as np
import pytest

from shared.tensor_bytes import bf16_to_float32, float32_to_bf16, pack_bytes, unpack_bytes


def test_elements_come_back_as_they_were() -> None:
    """Also empty ones, and none."""
    items = [b"", b"a", b"\0" * 300]
    assert unpack_bytes(pack_bytes(items)) == items
    assert unpack_bytes(memoryview(b"")) == [] and pack_bytes([]) == b""


@pytest.mark.parametrize("cut", [1, 3, 4, 5, 6])
def test_a_length_beyond_the_end_is_an_error(cut: int) -> None:
    """Wherever the data is cut off."""
    with pytest.raises(ValueError, match="past the end"):
        unpack_bytes(pack_bytes([b"abc"])[:cut])


def test_bf16_is_the_upper_half_of_a_float32() -> None:
    """Every value that BF16 has survives both ways."""
    bits = np.arange(0x10000, dtype="<u2")
    assert np.array_equal(float32_to_bf16(bf16_to_float32(bits)), bits)
    assert bf16_to_float32(np.array([0x3F80, 0xC000], "<u2")).tolist() == [1.0, -2.0]
