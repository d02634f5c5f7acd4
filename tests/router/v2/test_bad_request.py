"""Bad input: each is refused with an error that names the field, and nothing of it is queued."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.rest.error_responses import STATUS
from router.v2.request import parse
from shared.errors import InvalidInput, WarmrouteError
from shared.manifest import Batching, Manifest
from tests.helpers.factories import manifest, spec

X = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}
MODEL = manifest(inputs=[spec("x", "FP32", [-1, 2])])
TWO = manifest(inputs=[spec("x", "FP32", [-1, 2]), spec("w", "FP32", [-1, 2])])
OK = json.dumps({"inputs": [X]}).encode()
BINARY = {"name": "x", "datatype": "FP32", "shape": [1, 2]}
TEXT = manifest(inputs=[spec("x", "BYTES", [-1])])


def refuse(body: Any, length: str | None = None, model: Manifest = MODEL) -> WarmrouteError:
    """The error that a body is answered with. It is the caller's fault, and it is short."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(InvalidInput) as caught:
        parse(raw, length, model)
    error = caught.value
    assert 400 <= STATUS[error.code] <= 499 or error.code == "unsupported"
    assert len(error.message) < 1000
    return error


def x(**changes: Any) -> dict[str, Any]:
    return {"inputs": [X | changes]}


CASES: dict[str, tuple[Any, str]] = {
    "empty body": (b"", "body"),
    "no JSON": (b"hello", "body"),
    "cut short": (OK[:-1], "body"),
    "something after it": (OK + b" x", "body"),
    "a list": ([], "body"),
    "null": (b"null", "body"),
    "two documents": (OK + OK, "body"),
    "UTF-16": (OK.decode().encode("utf-16"), "body"),
    "byte order mark": (b"\xef\xbb\xbf" + OK, "body"),
    "not UTF-8": (OK.replace(b'"x"', b'"\xff"'), "body"),
    "not UTF-8 in the id": (OK[:-1] + b', "id": "\xff"}', "body"),
    "half a character": (OK.replace(b'"x"', b'"\\ud800"'), "body"),
    "raw control character": (OK.replace(b'"x"', b'"\x00"'), "body"),
    "NaN": (b'{"inputs": NaN}', "body"),
    "no inputs member": ({}, "inputs"),
    "inputs null": ({"inputs": None}, "inputs"),
    "no input": ({"inputs": []}, "inputs"),
    "257 inputs": ({"inputs": [X] * 257}, "inputs"),
    "an input of another type": ({"inputs": [1]}, "inputs"),
    "no name": ({"inputs": [{k: v for k, v in X.items() if k != "name"}]}, "name"),
    "no shape": ({"inputs": [{k: v for k, v in X.items() if k != "shape"}]}, "shape"),
    "no datatype": ({"inputs": [{k: v for k, v in X.items() if k != "datatype"}]}, "datatype"),
    "no data": ({"inputs": [BINARY]}, "data"),
    "null data": (x(data=None), "data"),
    "extra input": ({"inputs": [X, X | {"name": "q"}]}, "inputs['q']"),
    "duplicate input": ({"inputs": [X, X]}, "inputs['x']"),
    "name of another case": (x(name="X"), "inputs['X']"),
    "name of 10 KB": (x(name="n" * 10_000), "inputs"),
    "wrong datatype": (x(datatype="INT32"), "inputs['x'].datatype"),
    "unknown datatype": (x(datatype="FP8"), "inputs['x'].datatype"),
    "datatype of 10 KB": (x(datatype="F" * 10_000), "inputs['x'].datatype"),
    "shape is a number": (x(shape=2), "shape"),
    "shape of texts": (x(shape=["1", "2"]), "shape"),
    "shape of fractions": (x(shape=[1.5, 2]), "shape"),
    "shape of truths": (x(shape=[True, 2]), "shape"),
    "data in an empty batch": (x(shape=[0, 2], data=[1, 2]), "inputs['x'].data"),
    "none in a batch of one": (x(data=[]), "inputs['x'].data"),
    "negative dimension": (x(shape=[-1, 2]), "inputs['x'].shape"),
    "wrong rank": (x(shape=[2]), "inputs['x'].shape"),
    "wrong dimension": (x(shape=[1, 3], data=[1, 2, 3]), "inputs['x'].shape"),
    "transposed": (x(shape=[2, 1]), "inputs['x'].shape"),
    "17 dimensions": (x(shape=[1] * 17), "inputs['x'].shape"),
    "a million dimensions": (x(shape=[1] * 1_000_000), "inputs['x'].shape"),
    "absurd dimension": (x(shape=[10**12, 2]), "inputs['x'].shape"),
    "unprintable dimension": (x(shape=[10**4200, 10**4200]), "inputs['x'].shape"),
    "too few elements": (x(data=[1]), "inputs['x'].data"),
    "too many elements": (x(data=[1, 2, 3]), "inputs['x'].data"),
    "text among numbers": (x(data=[1, "2"]), "inputs['x'].data"),
    "data is an object": (x(data={"a": 1}), "inputs['x'].data"),
    "data is a number": (x(data=7), "inputs['x'].data: no list"),
    "data is a list in an object": (x(data={"a": [1, 2]}), "inputs['x'].data"),
    "over the batch": (x(shape=[5, 2], data=[[1, 2]] * 5), "inputs"),
    "unknown output": ({"inputs": [X], "outputs": [{"name": "q"}]}, "outputs['q']"),
    "output twice": ({"inputs": [X], "outputs": [{"name": "y"}] * 2}, "outputs"),
    "257 outputs": ({"inputs": [X], "outputs": [{"name": "y"}] * 257}, "outputs"),
    "outputs of texts": ({"inputs": [X], "outputs": ["y"]}, "outputs"),
    "binary_data is a text": (
        {"inputs": [X], "outputs": [{"name": "y", "parameters": {"binary_data": "yes"}}]},
        "binary_data",
    ),
    "binary_data_output is a number": (
        {"inputs": [X], "parameters": {"binary_data_output": 1}}, "parameters.binary_data_output",
    ),
    "parameters are a list": ({"inputs": [X], "parameters": []}, "parameters"),
    "id is a number": ({"inputs": [X], "id": 7}, "id"),
    "id of 257 characters": ({"inputs": [X], "id": "i" * 257}, "id"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_refused_and_the_field_named(case: str) -> None:
    """Whatever it is, the message says where."""
    body, field = CASES[case]
    assert field in refuse(body).message


@pytest.mark.parametrize("timeout", [0, -1, 1.5, "1", True, 2**63, 10**400, [], {}])
def test_a_deadline_is_a_positive_number_of_microseconds(timeout: Any) -> None:
    """Nothing else."""
    error = refuse({"inputs": [X], "parameters": {"timeout": timeout}})
    assert "timeout" in error.message or "body" in error.message


@pytest.mark.parametrize("depth", [2000, 1_000_000])
@pytest.mark.parametrize("place", ["data", "parameters", "unknown", "top", "id"])
@pytest.mark.parametrize("kind", ["list", "object"])
def test_nesting_without_end_is_refused(depth: int, place: str, kind: str) -> None:
    """Wherever it is, closed or not; no stack overflows."""
    opening, closing = (b"[", b"]") if kind == "list" else (b'{"a":', b"}")
    for deep in (opening * depth + b"1" + closing * depth, opening * depth):
        body = {
            "data": OK.replace(b"[1, 2]}", deep + b"}"),
            "parameters": OK[:-1] + b', "parameters": {"p": ' + deep + b"}}",
            "unknown": OK[:-1] + b', "new": ' + deep + b"}",
            "top": deep,
            "id": OK[:-1] + b', "id": ' + deep + b"}",
        }[place]
        refuse(body)


def test_a_missing_input_is_named() -> None:
    """All of them, if there are several."""
    assert "['w'] missing" in refuse(OK, model=TWO).message
    both = {"inputs": [{"name": "q", "datatype": "FP32", "shape": [1], "data": [1]}]}
    assert "inputs['q']" in refuse(both, model=TWO).message


def test_inputs_of_different_batch_are_refused() -> None:
    """They could not be split again."""
    w = X | {"name": "w", "shape": [2, 2], "data": [1, 2, 3, 4]}
    assert "inputs['w'].shape" in refuse({"inputs": [X, w]}, model=TWO).message


def test_a_batched_model_with_a_scalar_input_refuses_instead_of_failing() -> None:
    """Its manifest is at fault, and should not have been accepted; the gateway stands."""
    model = manifest(inputs=[spec("x", "FP32", [])], batching=Batching(max_size=4))
    refuse(x(shape=[], data=[1]), model=model)


@pytest.mark.parametrize(
    "length",
    ["", " ", "-1", "+1", "00", "1.0", "1e1", "0x10", "١٢", "\uff11\uff12", "²",
     "99999999999", "9" * 5000, "1 ",
     "1\n", "1,2", "nan", str(len(OK) + 1), str(len(OK) - 1)],
)  # fmt: skip
def test_a_wrong_header_length_is_refused(length: str) -> None:
    """Negative, huge, not ASCII, past the end, or in the middle of the JSON."""
    message = refuse(OK, length).message
    assert "Inference-Header-Content-Length" in message or "body" in message


def binary(size: Any, model: Manifest = MODEL, tail: bytes = b"", **changes: Any) -> WarmrouteError:
    """The error for a binary tensor of 8 bytes that says it has `size`."""
    given = BINARY | {"parameters": {"binary_data_size": size}} | changes
    raw = json.dumps({"inputs": [given]}).encode()
    return refuse(raw + (tail or bytes(8)), str(len(raw)), model)


@pytest.mark.parametrize("size", [-1, -8, 7, 9, 10**30, 0, 1.5, "8", True, None, [8], {}])
def test_a_wrong_binary_size_is_refused(size: Any) -> None:
    """It is not what the shape needs, or no number of bytes at all."""
    assert "inputs['x']" in binary(size).message


def test_bytes_after_the_last_tensor_are_refused() -> None:
    """They would be somebody's mistake."""
    assert "1 bytes after" in binary(8, tail=bytes(9)).message
    assert "body" in refuse(OK + b"\n", str(len(OK))).message


def test_a_tensor_is_not_given_twice_over() -> None:
    """As data and as binary."""
    assert "both" in binary(8, data=[1, 2]).message


def test_a_binary_tensor_without_the_header_is_refused() -> None:
    """Nothing follows the JSON then."""
    body = {"inputs": [BINARY | {"parameters": {"binary_data_size": 8}}]}
    assert "past the end of the body" in refuse(body).message


@pytest.mark.parametrize(
    "tail", [b"\xff\xff\xff\xff", b"\x05\0\0\0abc", b"\0\0\0", b"\x01\0\0\0ab", b"\0\0\0\0" * 3]
)
def test_binary_texts_with_wrong_lengths_are_refused(tail: bytes) -> None:
    """Past the end, cut, more or fewer than the shape says."""
    error = binary(len(tail), TEXT, tail, datatype="BYTES", shape=[2])
    assert "inputs['x']" in error.message


@given(st.binary(max_size=300), st.none() | st.text(max_size=6) | st.integers(-5, 400).map(str))
def test_garbage_is_refused_and_nothing_else_happens(body: bytes, length: str | None) -> None:
    """Any bytes with any header, but for bytes that may be all of a request: two inputs are not."""
    with pytest.raises(InvalidInput):
        parse(body, length, TWO)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda part: (
        st.lists(part, max_size=4) | st.dictionaries(st.text(max_size=5), part, max_size=4)
    ),
    max_leaves=10,
)


@given(
    st.sampled_from(["name", "datatype", "shape", "data", "parameters"]), JSON,
    st.sampled_from(["id", "outputs", "parameters", "inputs", "other"]), JSON,
)  # fmt: skip
def test_a_request_with_any_member_replaced_is_read_or_refused(
    member: str, value: Any, top: str, other: Any
) -> None:
    """No combination of values makes the gateway fail."""
    with suppress(InvalidInput):
        parse(json.dumps({"inputs": [X | {member: value}], top: other}).encode(), None, MODEL)
