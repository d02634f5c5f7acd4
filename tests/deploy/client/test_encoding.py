"""The binary tensor layout, against bytes written out by hand and against itself."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shared import datatypes
from warmroute import BadResponse
from warmroute.encoding import encode, encode_tensor
from warmroute.framing import from_binary, from_json
from warmroute.result import decode

V2_DTYPES = st.sampled_from([dtype for name, dtype in datatypes.NUMPY.items() if name != "BF16"])


@given(arrays.arrays(V2_DTYPES, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0)))
def test_any_numeric_array_survives_the_way_there_and_back(array: np.ndarray) -> None:
    """Datatype, shape and bits are kept."""
    back = from_binary(*encode_tensor("x", array))
    np.testing.assert_array_equal(array, back)
    assert (array.dtype, array.shape) == (back.dtype, back.shape)


@given(st.lists(st.binary(), max_size=5))
def test_bytes_elements_survive_the_way_there_and_back(items: list[bytes]) -> None:
    """Empty elements and zero bytes included."""
    array = np.empty(len(items), object)
    array[:] = items
    assert items == from_binary(*encode_tensor("x", array)).tolist()


def test_layout_of_a_request_is_header_then_raw_little_endian_tensors() -> None:
    """Big-endian and strided arrays are put right; text is length-prefixed UTF-8."""
    inputs = {"a": np.array([1, 2, 3], ">i2")[::2], "b": np.array(["é"])}
    body, length = encode(inputs, outputs=["y"], parameters={"priority": 1})
    assert body[length:] == b"\x01\x00\x03\x00" + b"\x02\x00\x00\x00\xc3\xa9"
    header = msgspec.json.decode(body[:length])
    assert [tensor["datatype"] for tensor in header["inputs"]] == ["INT16", "BYTES"]
    assert [tensor["parameters"]["binary_data_size"] for tensor in header["inputs"]] == [4, 6]
    assert header["outputs"] == [{"name": "y"}]
    assert header["parameters"] == {"priority": 1, "binary_data_output": True}


def test_object_elements_that_are_not_text_are_refused_not_pickled() -> None:
    """A dict in an object array is a TypeError naming the input."""
    with pytest.raises(TypeError, match="'x'"):
        encode({"x": np.array([{}], object)})


def test_dtypes_without_a_v2_name_are_refused() -> None:
    """complex128 has no place in the protocol."""
    with pytest.raises(TypeError, match="complex128"):
        encode({"x": np.zeros(1, complex)})


def test_bf16_comes_back_as_the_float32_of_the_same_value() -> None:
    """1.5 is 0x3fc0 in bfloat16."""
    assert from_binary("BF16", [1], b"\xc0\x3f").tolist() == [1.5]


def test_json_outputs_are_read_nested_or_flat() -> None:
    """Both forms that V2 allows, BYTES as strings."""
    assert from_json("INT64", [2, 1], [[1], [2]]).tolist() == [[1], [2]]
    assert from_json("BYTES", [1, 2], [["a", "b"]]).tolist() == [[b"a", b"b"]]
    assert from_json("FP32", [2], [1, None]).tolist()[:1] == [1.0]
    assert from_json("BOOL", [], True).shape == ()


@pytest.mark.parametrize(("claimed", "sent"), [(8, b"\0" * 4), (4, b"\0" * 8)])
def test_a_response_whose_sizes_do_not_add_up_is_refused(claimed: int, sent: bytes) -> None:
    """Too few and too many bytes are both an error, never a silent cut."""
    output = {"name": "y", "datatype": "FP32", "shape": [claimed // 4]}
    output["parameters"] = {"binary_data_size": claimed}
    with pytest.raises(BadResponse, match="bytes"):
        decode(msgspec.json.encode({"model_name": "m", "outputs": [output]}), sent)
