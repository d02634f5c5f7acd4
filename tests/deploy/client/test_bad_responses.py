"""Responses that are cut off, changed or not of a gateway: a typed error that names the field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.deploy.client.responses import ARRAYS, Head, parts, response, valid
from warmroute import BadResponse
from warmroute.encoding import HEADER_LENGTH
from warmroute.framing import from_json
from warmroute.paging import residency
from warmroute.response import Response, document, listed
from warmroute.result import read_result


def test_a_valid_response_is_read_and_its_arrays_can_be_changed() -> None:
    """So torch takes them without a copy. BF16 comes as float32."""
    import torch

    result = read_result(valid())
    np.testing.assert_array_equal(result["floats"], ARRAYS["floats"])
    assert result["words"].tolist() == [b"", b"a\0", b"longer"]
    assert (result["bits"].dtype, result["bits"].tolist()) == (np.float32, [1.5])
    assert result["none"].shape == (0, 3)
    tensor = torch.from_numpy(result["floats"])
    tensor += 1
    assert result["floats"][0, 0] == 2.0
    assert torch.from_numpy(result["bits"]).bfloat16().tolist() == [1.5]


def without(name: str) -> Callable[[Head], None]:
    return lambda head: head.pop(name)


def first(**fields: Any) -> Callable[[Head], None]:
    """The first output with other fields; None takes one away."""

    def change(head: Head) -> None:
        output = head["outputs"][0]
        output.update(fields)
        for name, value in fields.items():
            if value is None:
                del output[name]

    return change


def size(value: Any) -> Callable[[Head], None]:
    return first(parameters={"binary_data_size": value})


def setting(**fields: Any) -> Callable[[Head], None]:
    return lambda head: head.update(fields)


def renaming(head: Head) -> None:
    head["outputs"][1]["name"] = "floats"


HEADS: list[tuple[Callable[[Head], None], str]] = [
    (without("model_name"), "model_name"), (setting(model_name=5), "model_name"),
    (setting(model_version=1), "model_version"), (setting(parameters=[]), "parameters"),
    (without("outputs"), "outputs"), (setting(outputs={}), "outputs"),
    (setting(outputs=[]), "outputs"), (setting(outputs=["y"]), "outputs[0]"),
    (first(name=None), "outputs[0].name"), (first(name=3), "outputs[0].name"),
    (renaming, "outputs[1].name"), (first(datatype=None), "outputs[0].datatype"),
    (first(datatype="FP8"), "outputs[0].datatype"), (first(datatype=[]), "outputs[0].datatype"),
    (first(datatype="FP64"), "outputs[0].data"), (first(datatype="BYTES"), "outputs[0].data"),
    (first(datatype="BOOL", shape=[24]), "outputs[0].data"),
    (first(shape=None), "outputs[0].shape"), (first(shape="6"), "outputs[0].shape"),
    (first(shape=[2, 2]), "outputs[0].data"), (first(shape=[-1, 6]), "outputs[0].shape"),
    (first(shape=[True, 6]), "outputs[0].shape"), (first(shape=[2.0, 3]), "outputs[0].shape"),
    (first(shape=[1] * 33), "outputs[0].shape"), (first(shape=[10**30]), "outputs[0].shape"),
    (first(parameters=[24]), "outputs[0].parameters"),
    (first(parameters=None), "outputs[0].data"), (first(data=[1]), "outputs[0].data"),
    (size(-1), "outputs[0].parameters.binary_data_size"),
    (size("24"), "outputs[0].parameters.binary_data_size"),
    (size(2.0), "outputs[0].parameters.binary_data_size"),
    (size(True), "outputs[0].parameters.binary_data_size"),
    (size(20), "outputs[0].data"), (size(10**30), "body"), (size(400), "body"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "field"), HEADS)
def test_a_wrong_header_names_the_field(change: Callable[[Head], None], field: str) -> None:
    """And what was expected there."""
    head, blobs = parts()
    change(head)
    with pytest.raises(BadResponse) as caught:
        read_result(response(head, blobs))
    assert caught.value.field == field
    assert caught.value.expected and field in str(caught.value)


def bytes_tensor(raw: bytes, count: int) -> Response:
    parameters = {"binary_data_size": len(raw)}
    output = {"name": "y", "datatype": "BYTES", "shape": [count], "parameters": parameters}
    return response({"model_name": "m", "outputs": [output]}, raw)


@pytest.mark.parametrize(
    ("raw", "count"),
    [(b"\3\0\0\0ab", 1), (b"\2\0\0\0ab\1", 2), (b"\2\0\0\0ab", 2), (b"\2\0\0\0ab\0\0\0\0", 1),
     (b"\xff\xff\xff\xffab", 1), (b"\0", 1), (b"", 1), (b"\0\0\0\0", 0)],
)  # fmt: skip
def test_a_bytes_tensor_whose_lengths_lie_is_never_shortened(raw: bytes, count: int) -> None:
    """An element that is cut off, a length that is cut off, one too few, one too many."""
    with pytest.raises(BadResponse, match=r"outputs\[0\].data"):
        read_result(bytes_tensor(raw, count))


@pytest.mark.parametrize("length", ["0", "-5", "x", "1e3", "99999999", "9" * 40, "7, 7", "\u0663"])
def test_a_header_length_that_is_wrong_is_named(length: str) -> None:
    """Beyond the body, negative, not a number, given twice."""
    with pytest.raises(BadResponse, match=HEADER_LENGTH):
        read_result(response(*parts(), length))


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>502</html>", b"[]", b"null", b"3", b'"text"', b'{"model_name": "m"', b"\xff\xfe{",
     '{"a":1}'.encode("utf-16"), b"[" * 100_000, b'{"outputs": NaN}', b"{} {}", b"\xef\xbb\xbf{}",
     b"1" * 5000],
)  # fmt: skip
@pytest.mark.parametrize("read", [read_result, document, listed, residency().read])
def test_a_body_that_is_not_the_json_of_a_gateway(body: bytes, read: Callable[..., Any]) -> None:
    """A proxy's page, another document, half of one, another encoding, brackets without an end."""
    if body == b"[]" and read is listed:
        return
    with pytest.raises(BadResponse):
        read(Response(200, {}, body))


JSON_DATA = [
    ("INT64", [2], [1]), ("INT64", [2], [1, 2, 3]), ("INT64", [2], [[1, 2]]), ("INT8", [1], [128]),
    ("UINT8", [1], [-1]), ("INT64", [1], [2**63]), ("INT64", [1], [1.0]), ("INT64", [1], [True]),
    ("INT64", [1], ["1"]), ("INT64", [1], [None]), ("FP32", [1], ["1"]), ("FP32", [1], [False]),
    ("FP32", [1], [1e39]), ("FP64", [1], [10**400]), ("BOOL", [1], [1]), ("BYTES", [1], [1]),
    ("FP16", [1], [1.0]), ("BF16", [1], [1]), ("INT64", [2, 2], [[1, 2], [3]]),
    ("INT64", [2, 2], [[1], [2, 3, 4]]), ("INT64", [2, 2], [[1, 2], 3]), ("INT64", [1], 1),
    ("INT64", [1], {}), ("INT64", [], "x"), ("INT64", [2, 1], [[[1]], [[2]]]),
]  # fmt: skip


@pytest.mark.parametrize(("datatype", "shape", "data"), JSON_DATA)
def test_json_data_that_does_not_fit_is_named(datatype: str, shape: list[int], data: Any) -> None:
    """Too few, too many, ragged, of another kind, out of range, of a datatype without JSON."""
    with pytest.raises(BadResponse, match="data"):
        from_json(datatype, shape, data)


def test_an_output_that_was_asked_for_and_did_not_come_is_named() -> None:
    """A result is never shorter than what was asked."""
    with pytest.raises(BadResponse, match="'y' is missing"):
        read_result(valid(), ["floats", "y"])
