"""V2 tensor data: JSON to bytes and back, without loss, and everything else refused."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from router.v2 import tensors
from shared import datatypes
from shared.errors import InvalidInput
from shared.tensor_bytes import pack_bytes, unpack_bytes

NUMERIC = sorted(set(datatypes.NUMPY) - datatypes.NO_JSON - {"BOOL"})
SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, max_side=4)


def arrays(datatype: str) -> st.SearchStrategy[np.ndarray]:
    """Arrays of a datatype, without NaN and infinity, which JSON cannot say."""
    dtype = datatypes.NUMPY[datatype]
    options = {"allow_nan": False, "allow_infinity": False} if dtype.kind == "f" else {}
    return SHAPES.flatmap(lambda s: hnp.arrays(dtype, s, elements=hnp.from_dtype(dtype, **options)))


def parse(value: Any, datatype: str, shape: list[int]) -> bytes:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return tensors.from_json(raw, datatype, shape, "inputs['x']")


def refusal(value: Any, datatype: str = "FP32", shape: list[int] | None = None) -> str:
    """What is said about data that is refused; it names the field."""
    with pytest.raises(InvalidInput) as caught:
        parse(value, datatype, [2] if shape is None else shape)
    assert caught.value.message.startswith("inputs['x'].")
    assert len(caught.value.message) < 500
    return caught.value.message


@given(st.data())
@pytest.mark.parametrize("datatype", [*NUMERIC, "BOOL"])
def test_numbers_survive_the_way_in_and_out(datatype: str, data: st.DataObject) -> None:
    """Nested and flat, to the last bit; what goes out can come in again."""
    array = data.draw(arrays(datatype))
    shape = list(array.shape)
    raw = parse(array.tolist(), datatype, shape)
    assert raw == array.tobytes()
    assert parse(array.reshape(-1).tolist(), datatype, shape) == raw
    out = tensors.to_json(raw, datatype, "outputs['y']")
    assert parse(out, datatype, [len(out)]) == raw


@given(st.lists(st.text(max_size=20), min_size=1, max_size=8))
def test_texts_survive_the_way_in_and_out(texts: list[str]) -> None:
    """BYTES are strings in JSON; any Unicode text, but halves of characters, which are no text."""
    if any("\ud800" <= c <= "\udfff" for text in texts for c in text):
        return
    raw = parse(texts, "BYTES", [len(texts)])
    assert tensors.to_json(raw, "BYTES", "y") == texts
    assert parse([[text] for text in texts], "BYTES", [len(texts), 1]) == raw


@given(st.lists(st.binary(max_size=20), max_size=8))
def test_bytes_survive_packing(items: list[bytes]) -> None:
    """Each with its length before it."""
    assert unpack_bytes(pack_bytes(items)) == items


@given(st.binary(max_size=40))
def test_any_bytes_are_elements_or_refused(data: bytes) -> None:
    """Lengths that run past the end never read past it."""
    try:
        items = unpack_bytes(data)
    except ValueError:
        with pytest.raises(InvalidInput, match=r"inputs\['x'\]"):
            tensors.check_binary(memoryview(data), "BYTES", 1, "inputs['x']")
        return
    assert pack_bytes(items) == data


@pytest.mark.parametrize(
    "data", [b"\x01", b"\x01\0\0", b"\x05\0\0\0abcd", b"\xff\xff\xff\xff", b"\0\0\0\0\x01\0\0\0"]
)
def test_a_length_that_runs_past_the_end_is_refused(data: bytes) -> None:
    """Also when it is cut itself."""
    with pytest.raises(InvalidInput, match="past the end"):
        tensors.to_json(data, "BYTES", "x")


@pytest.mark.parametrize("indent", [1, 4, 8, 40])
def test_white_space_does_not_count(indent: int) -> None:
    """However deep pretty-printed JSON is nested and indented."""
    array = np.arange(16, dtype="<f4").reshape(1, 2, 2, 4)
    raw = json.dumps(array.tolist(), indent=indent).encode()
    assert parse(raw, "FP32", [1, 2, 2, 4]) == array.tobytes()


def test_integers_are_numbers_for_a_float_and_not_the_other_way() -> None:
    """1 is 1.0, but 1.0 among integers hides a mistake."""
    assert parse([1, 2], "FP32", [2]) == np.array([1, 2], "<f4").tobytes()
    assert "int" in refusal([1.0, 2.0], "INT32")


@pytest.mark.parametrize(
    ("raw", "datatype"),
    [
        (b"[NaN, 1]", "FP32"), (b"[Infinity, 1]", "FP64"), (b"[-Infinity, 1]", "FP64"),
        (b"[1e999, 1]", "FP64"), (b"[-1e999, 1]", "FP32"), (b"[1e39, 1]", "FP32"),
        (b"[null, 1]", "FP32"), (b"[true, 1]", "FP32"), (b'["1", 1]', "FP32"),
        (b"[{}, 1]", "FP32"), (b"[[1], 1]", "FP32"), (b"[1, [1]]", "FP32"),
        (b"[256, 1]", "UINT8"), (b"[-1, 1]", "UINT8"), (b"[128, 1]", "INT8"),
        (b"[18446744073709551616, 1]", "UINT64"), (b"[9223372036854775808, 1]", "INT64"),
        (b"[1" + b"0" * 4000 + b", 1]", "INT64"), (b"[1" + b"0" * 5000 + b", 1]", "FP64"),
        (b"[1, 0]", "BOOL"), (b'["true", "false"]', "BOOL"), (b"[1, 2]", "BYTES"),
        (b'["\\ud800", "a"]', "BYTES"), (b'["\xff", "a"]', "BYTES"), (b'["a\x00", "b"]', "BYTES"),
        (b"[1, 2", "FP32"), (b"[1, 2]]", "FP32"), (b"[1,, 2]", "FP32"), (b"", "FP32"),
        (b"1", "FP32"), (b'"12"', "FP32"), (b"{}", "FP32"), (b"null", "FP32"), (b"[]", "FP32"),
        (b"[1]", "FP32"), (b"[1, 2, 3]", "FP32"),
    ],
)  # fmt: skip
def test_data_that_does_not_fit_is_refused(raw: bytes, datatype: str) -> None:
    """Wrong type, out of range, not a number, not JSON, too few, too many."""
    refusal(raw, datatype)


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ([[1, 2], [3]], [2, 2]), ([[1, 2], [3, 4, 5]], [2, 2]), ([[1, 2]], [2, 1]),
        ([[[1, 2]]], [1, 2]), ([[], []], [2, 1]), ([1, 2, 3], [2, 2]), ([[1, 2], 3], [2, 2]),
        ([[["a"]]], [1, 1]),
    ],
)  # fmt: skip
def test_nesting_that_does_not_match_the_shape_is_refused(value: Any, shape: list[int]) -> None:
    """Ragged, transposed, too deep, empty."""
    refusal(value, "FP32", shape)


@pytest.mark.parametrize("value", [[["a"], ["b", "c"]], [["a", "b"]], [["a"], "b"], [[], []]])
def test_texts_that_do_not_match_the_shape_are_refused(value: Any) -> None:
    """numpy would make an array of lists of them."""
    refusal(value, "BYTES", [2, 1])


@pytest.mark.parametrize("depth", [17, 1000, 1_000_000])
@pytest.mark.parametrize("tail", [b"", b"1", b"]"], ids=["open", "one", "close"])
def test_brackets_without_end_do_not_recurse(depth: int, tail: bytes) -> None:
    """A million of them are as harmless as a few."""
    refusal(b"[" * depth + tail * depth, "FP32", [1] * 16)


@pytest.mark.parametrize("datatype", sorted(datatypes.NO_JSON))
def test_half_precision_has_no_json(datatype: str) -> None:
    """In neither direction: the caller is told to use binary."""
    assert "parameters.binary_data_size" in refusal([1, 2], datatype)
    with pytest.raises(InvalidInput, match="binary"):
        tensors.to_json(b"\0\0", datatype, "outputs['y']")


def test_what_json_cannot_say_becomes_null() -> None:
    """A NaN in an output is no reason to fail."""
    raw = np.array([1, np.nan, np.inf, -np.inf], "<f4").tobytes()
    values = tensors.to_json(raw, "FP32", "y")
    assert values[0] == 1 and not any(math.isfinite(v) for v in values[1:])


@pytest.mark.parametrize(
    ("shape", "count"),
    [([], 1), ([1], 1), ([2, 3], 6), ([1 << 31], 1 << 31), ([1] * 16, 1), ([0], 0),
     ([2, 0, 3], 0), ([0, 1 << 31], 0)],
)  # fmt: skip
def test_elements_are_counted(shape: list[int], count: int) -> None:
    """A scalar has one, an empty tensor none."""
    assert tensors.element_count(shape, "x") == count


@pytest.mark.parametrize(
    "shape",
    [
        [-1], [1] * 17, [(1 << 31) + 1], [1 << 16, 1 << 16], [0, 1 << 16, 1 << 16], [10**12],
        [10**4000] * 2, [-(10**4000)] * 2, [10**4290] * 16,
    ],
    ids=["negative", "rank", "one over", "product", "product beside a zero", "1e12", "huge",
         "huge neg", "astronomic"],
)  # fmt: skip
def test_an_absurd_shape_is_refused_before_anything_is_allocated(shape: list[int]) -> None:
    """Also one whose numbers are too long to print; none of them is printed."""
    with pytest.raises(InvalidInput, match=r"x\.shape") as caught:
        tensors.element_count(shape, "x")
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    ("size", "datatype", "count"),
    [(4, "FP32", 1), (6, "FP16", 3), (2, "BF16", 1), (3, "BOOL", 3), (16, "INT64", 2)],
)
def test_binary_of_the_right_size_passes(size: int, datatype: str, count: int) -> None:
    """So many elements, and not a byte more."""
    tensors.check_binary(memoryview(bytes(size)), datatype, count, "x")
    for wrong in (size - 1, size + 1, 0):
        with pytest.raises(InvalidInput, match="x"):
            tensors.check_binary(memoryview(bytes(wrong)), datatype, count, "x")


def test_binary_texts_are_counted() -> None:
    """As many elements as the shape says."""
    data = memoryview(pack_bytes([b"a", b"", b"bc"]))
    tensors.check_binary(data, "BYTES", 3, "x")
    with pytest.raises(InvalidInput, match="2 elements"):
        tensors.check_binary(data, "BYTES", 2, "x")


def test_a_binary_truth_is_one_or_zero() -> None:
    """Other bytes are no booleans to numpy or torch: what they compute with them is undefined."""
    tensors.check_binary(memoryview(b"\0\1\1"), "BOOL", 3, "x")
    with pytest.raises(InvalidInput, match=r"x.*BOOL"):
        tensors.check_binary(memoryview(b"\0\2\1"), "BOOL", 3, "x")
