"""What goes over the wire is what was given, or nothing goes."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shared import datatypes
from warmroute import ClientError, InvalidInput
from warmroute.casting import to_tensor
from warmroute.datatypes import FLOATS, INTEGERS
from warmroute.encoding import encode_tensor
from warmroute.exact import widened
from warmroute.framing import from_binary

NUMBERS = sorted(INTEGERS | set(FLOATS))
ANY = sorted(datatypes.ALL)
EDGES = [
    *(2**bits + d for bits in (7, 8, 11, 15, 16, 24, 31, 32, 53, 63, 64) for d in (-1, 0, 1)),
    *(-(2**bits) + d for bits in (7, 15, 31, 53, 63) for d in (-1, 0, 1)),
]  # fmt: skip
WHOLES = st.integers(-(2**70), 2**70) | st.sampled_from(EDGES)
REALS = st.floats() | WHOLES.map(float)
SCALARS = WHOLES | REALS | st.booleans() | st.text() | st.binary() | st.none()
SOURCES = st.sampled_from([d for n, d in datatypes.NUMPY.items() if n != "BF16"] + [">i8", ">f4"])


def arrived(value: Any, wanted: str | None) -> list[Any]:
    """What the other end reads."""
    datatype, shape, raw = encode_tensor("x", value, wanted)
    assert wanted in (None, datatype)
    array = from_binary(datatype, shape, raw)
    flat: list[Any] = array.reshape(-1).tolist()
    return flat


def same(given: Any, got: Any) -> bool:
    """Equal as numbers of any size, and of the same kind."""
    if isinstance(given, str | bytes):
        return bool(got == (given.encode() if isinstance(given, str) else given))
    if isinstance(given, bool) or isinstance(got, bool | bytes):
        return given is got
    if math.isnan(given) or math.isnan(got):
        return math.isnan(given) and math.isnan(got)
    return bool(given == got)


def nearest(given: float, got: float, datatype: str) -> bool:
    """Whether a Python float became one of the two numbers of `datatype` beside it."""
    if not math.isfinite(given):
        return same(given, got)
    step = Fraction(max(abs(given), 2.0**-126)) * Fraction(2) ** (1 - FLOATS[datatype])
    tiniest = Fraction(2) ** {"FP16": -24, "FP64": -1074}.get(datatype, -133)
    return math.isfinite(got) and abs(Fraction(given) - Fraction(got)) <= max(step, tiniest)


@given(st.lists(SCALARS, max_size=4) | SCALARS, st.sampled_from([*ANY, None]))
def test_a_list_arrives_as_it_is_or_not_at_all(value: Any, wanted: str | None) -> None:
    """Any elements, any datatype. Only floats may be rounded, to the next number that there is."""
    try:
        got = arrived(value, wanted)
    except InvalidInput as error:
        assert "input 'x'" in error.message
        return
    elements = value if isinstance(value, list) else [value]
    assert len(got) == len(elements)
    for was, now in zip(elements, got, strict=True):
        real = isinstance(was, float) and wanted in FLOATS
        assert nearest(was, now, str(wanted)) if real else same(was, now)


@given(st.data(), SOURCES, st.sampled_from([*NUMBERS, "BOOL", "BYTES"]))
def test_an_array_arrives_as_it_is_or_not_at_all(data: Any, dtype: Any, wanted: str) -> None:
    """Of any dtype, for any datatype, never rounded."""
    small = arrays.from_dtype(np.dtype(dtype)) | st.integers(0, 100).map(np.dtype(dtype).type)
    array = data.draw(arrays.arrays(dtype, arrays.array_shapes(max_dims=2), elements=small))
    try:
        got = arrived(array, wanted)
    except InvalidInput as error:
        assert "input 'x'" in error.message
        return
    flat = array.reshape(-1).tolist()
    assert len(got) == len(flat)
    assert all(same(was, now) for was, now in zip(flat, got, strict=True))


@pytest.mark.parametrize(
    ("wanted", "value", "word"),
    [
        ("INT64", [1.5], "whole"), ("INT64", [True], "bool"), ("INT64", ["7"], "str"),
        ("INT64", [2**63], "9223372036854775807"), ("UINT64", [-1], "goes from 0"),
        ("UINT8", [[300]], r"\[0, 0\]"), ("UINT8", [[1.9]], "1.9"), ("FP32", [1e39], "range"),
        ("FP32", [16777217], "exactly"), ("FP32", [10**5000], "range"), ("FP32", "3", "str"),
        ("FP16", [70000.0], "65504"), ("BF16", [257], "exactly"), ("BOOL", [1], "truth"),
        ("BYTES", [1], "text"), ("BYTES", ["\ud800"], "UTF-8"), ("FP32", [[1], [2, 3]], "ragged"),
        ("FP32", [[1], 2], "ragged"), ("FP32", [None], "NoneType"), ("FP32", [1j], "complex"),
        ("FP32", {1.0}, "set"), ("FP32", {"a": 1}, "dict"), ("FP32", np.array([0.1]), "astype"),
        ("FP32", np.array([1e39]), "range"), ("FP64", np.array([2**53 + 1]), "exactly"),
        ("INT64", np.array([2**63], np.uint64), "range"), ("FP32", np.array([True]), "BOOL"),
        ("BF16", np.array([16256], np.uint16), "float32"), ("FP32", np.longdouble(1), "float128"),
        ("INT64", np.array(["2020"], "datetime64[D]"), "datetime64"),
        ("INT64", [np.timedelta64(3, "s")], "timedelta64"), ("FP32", np.zeros(1, "c8"), "complex"),
        ("FP32", np.array([[None, 1.0]], object), "NoneType"), ("FP32", np.zeros(1, "V2"), "V2"),
        ("FP32", np.zeros(1, [("a", "f4")]), "'a'"), ("BYTES", np.array([{}], object), "dict"),
    ],
)  # fmt: skip
def test_what_would_change_is_named(wanted: str, value: Any, word: str) -> None:
    """The input, the element and the way out, in an error of the client's tree."""
    with pytest.raises(InvalidInput, match=word) as caught:
        to_tensor("x", value, wanted)
    assert isinstance(caught.value, ClientError | TypeError | ValueError)
    assert "input 'x'" in str(caught.value)


MASKED = np.ma.masked_array([1.0, 2.0], mask=[False, True])


@pytest.mark.parametrize("value", [MASKED, [MASKED], [1.0, np.ma.masked], np.ma.masked, MASKED[1]])
def test_what_is_masked_is_refused_wherever_it_hides(value: Any) -> None:
    """The numbers below a mask are not meant to be seen."""
    with pytest.raises(InvalidInput, match="mask"):
        to_tensor("x", value, "FP32")


def test_text_keeps_its_zero_bytes_and_is_not_made_of_numbers() -> None:
    """numpy's own fixed width would cut them off."""
    assert arrived(["a\0", b"\0"], None) == [b"a\0", b"\0"]
    with pytest.raises(InvalidInput):
        to_tensor("x", ["a", 1], None)


def test_empty_lists_have_the_datatype_of_the_model() -> None:
    """And their shape, of as many dimensions as they show."""
    taken = to_tensor("x", [[], []], "INT32")
    assert (taken.datatype, taken.array.shape) == ("INT32", (2, 0))


def test_lists_of_arrays_are_stacked() -> None:
    """If they are alike."""
    rows = [np.float32([1, 2]), np.float32([3, 4])]
    assert to_tensor("x", rows, "FP32").array.tolist() == [[1, 2], [3, 4]]
    with pytest.raises(InvalidInput, match="differ"):
        to_tensor("x", [rows[0], np.float32([1])], "FP32")


def test_tensors_of_torch_need_no_conversion() -> None:
    """With a gradient, in bfloat16, nested in a list; a sparse one says what to do."""
    import torch

    grown = torch.tensor([1.5, -2.0], requires_grad=True)
    assert to_tensor("x", grown, "FP32").array.tolist() == [1.5, -2.0]
    assert to_tensor("x", [grown, grown], "FP32").array.shape == (2, 2)
    half = to_tensor("x", grown.to(torch.bfloat16), None)
    assert (half.datatype, widened(half.array, "BF16").tolist()) == ("BF16", [1.5, -2.0])
    with pytest.raises(InvalidInput, match="to_dense"):
        to_tensor("x", grown.detach().to_sparse(), "FP32")


class Table:
    """Columns of several datatypes, as pandas shows them."""

    ndim, dtypes = 2, (np.dtype("i8"), np.dtype("f8"))

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.array([[2**53 + 1, 0.5]], dtype or np.float64)


def test_a_table_of_mixed_columns_is_not_made_one_datatype_first() -> None:
    """The integer that float64 has not is refused, not changed."""
    with pytest.raises(InvalidInput, match="9007199254740993"):
        to_tensor("x", Table(), "FP64")
