"""Requests for a model that is there, with inputs that it cannot take."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.helpers.models import Pair, publish_pair
from tests.helpers.stack import Stack
from tests.system.setup import Refused, post

Json = dict[str, Any]


@pytest.fixture(scope="module")
def pair(system: Stack) -> Pair:
    """A model with two inputs, FP32 `a` [n, 3] and INT64 `b` [n, 2], at most 4 rows."""
    return publish_pair(system.repository, system.folder)


def a(**changes: Any) -> Json:
    return {"name": "a", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3], **changes}


def b(**changes: Any) -> Json:
    return {"name": "b", "datatype": "INT64", "shape": [1, 2], "data": [4, 5], **changes}


def without(tensor: Json, field: str) -> Json:
    return {name: value for name, value in tensor.items() if name != field}


def infer(pair: Pair, body: bytes) -> bytes:
    return post(f"/v2/models/{pair.name}/infer", body)


def document(inputs: Any, **more: Any) -> bytes:
    return json.dumps({"inputs": inputs, **more}).encode()


@pytest.mark.parametrize(
    ("body", "named"),
    [
        pytest.param(b"", "body", id="empty"),
        pytest.param(b"{", "body", id="cut short"),
        pytest.param(b"not json", "body", id="no JSON"),
        pytest.param(b"[]", "body", id="an array"),
        pytest.param(b"null", "body", id="null"),
        pytest.param(b'{"inputs": []} {}', "body", id="two documents"),
        pytest.param(b'{"inputs": "\xff\xfe"}', "body", id="not UTF-8"),
        pytest.param(b"\x1f\x8b\x08\x00 binary", "body", id="binary"),
        pytest.param(b"{}", "inputs", id="no inputs"),
        pytest.param(b'{"inputs": []}', "inputs", id="zero inputs"),
        pytest.param(b'{"inputs": {}}', "inputs", id="inputs an object"),
        pytest.param(b'{"inputs": [1]}', "inputs", id="an input a number"),
        pytest.param(document([without(a(), "name"), b()]), "name", id="no name"),
        pytest.param(document([without(a(), "shape"), b()]), "shape", id="no shape"),
        pytest.param(document([without(a(), "datatype"), b()]), "datatype", id="no datatype"),
        pytest.param(document([without(a(), "data"), b()]), "data", id="no data"),
        pytest.param(document([a(), b()], id=7), "id", id="id a number"),
        pytest.param(document([a(), b()], id="x" * 300), "id", id="id too long"),
        pytest.param(document([a(), b()], outputs=[{"name": "z"}]), "outputs", id="no such output"),
        pytest.param(
            document([a(), b()], outputs=[{"name": "y"}] * 2), "outputs", id="output twice"
        ),
        pytest.param(document([a(), b()], parameters=3), "parameters", id="parameters a number"),
        pytest.param(
            document([a(), b()], parameters={"timeout": -1}), "parameters.timeout", id="timeout"
        ),
        pytest.param(
            document([a(), b()], parameters={"timeout": 10**18}),
            "parameters.timeout",
            id="timeout too long",
        ),
        pytest.param(
            document([a(), b()], parameters={"binary_data_output": "yes"}),
            "parameters.binary_data_output",
            id="flag",
        ),
        pytest.param(document([a()] * 300), "inputs", id="300 inputs"),
        pytest.param(
            document([a(), b()], parameters={"priority": 10}), "parameters.priority", id="priority"
        ),
        pytest.param(
            document([a(), b()])[:-1] + b', "id": "a", "id": "b"}',
            "'id' is given twice",
            id="twice",
        ),
        pytest.param(document([a(), b()]).decode().encode("utf-16"), "UTF-8", id="UTF-16"),
        pytest.param(
            document([a(), b()], id="?").replace(b"?", b"\\ud800"), "surrogate", id="surrogate"
        ),
        pytest.param(document([a(), b()], id="\0"), "NUL", id="NUL"),
    ],
)
def test_a_body_that_is_no_inference_request_is_refused(
    refused: Refused, pair: Pair, body: bytes, named: str
) -> None:
    """400, and the error names what is wrong."""
    status, error = refused(infer(pair, body))
    assert status == 400
    assert named in error


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        pytest.param([a()], "'b'", id="missing"),
        pytest.param([a(), b(), a(name="c")], "'c'", id="extra"),
        pytest.param([a(), b(), a()], "'a'", id="twice"),
        pytest.param([a(datatype="FP64"), b()], "'a'].datatype", id="another datatype"),
        pytest.param([a(datatype="float"), b()], "'a'].datatype", id="no datatype of V2"),
        pytest.param([a(shape=[3]), b()], "'a'].shape", id="too few dimensions"),
        pytest.param([a(shape=[1, 4], data=[1] * 4), b()], "'a'].shape", id="wrong size"),
        pytest.param([a(shape=[-1, 3]), b()], "'a'].shape", id="negative"),
        pytest.param([a(shape=[1] * 40), b()], "'a'].shape", id="40 dimensions"),
        pytest.param([a(shape=[1, 2.5]), b()], "shape", id="a fraction"),
        pytest.param([a(shape=[2**62, 3]), b()], "'a'].shape", id="absurdly large"),
        pytest.param([a(shape=[10**30, 3]), b()], "shape", id="larger than any integer"),
        pytest.param([a(data=[1, 2]), b()], "'a'].data", id="too little data"),
        pytest.param([a(data=[1, 2, 3, 4]), b()], "'a'].data", id="too much data"),
        pytest.param([a(data=[[1, 2, 3], [1]]), b()], "'a'].data", id="ragged"),
        pytest.param([a(data=[[1], [2], [3]]), b()], "'a'].data", id="transposed"),
        pytest.param([a(data=[[[1, 2, 3]]]), b()], "'a'].data", id="nested too deep"),
        pytest.param([a(data=["1", "2", "3"]), b()], "'a'].data", id="texts among floats"),
        pytest.param([a(data=[1, None, 3]), b()], "'a'].data", id="null among floats"),
        pytest.param([a(data=[1, True, 3]), b()], "'a'].data", id="bool among floats"),
        pytest.param([a(data=[1, 1e39, 3]), b()], "'a'].data", id="over FP32"),
        pytest.param([a(data=7), b()], "'a'].data", id="no array"),
        pytest.param([a(data={}), b()], "'a'].data", id="an object"),
        pytest.param([a(), b(data=[1, 2.5])], "'b'].data", id="a fraction among integers"),
        pytest.param([a(), b(data=[1, 2**63])], "'b'].data", id="over INT64"),
        pytest.param(
            [a(parameters={"binary_data_size": 12}), b()], "binary_data_size", id="both ways"
        ),
    ],
)
def test_inputs_that_the_model_does_not_take_are_refused(
    refused: Refused, pair: Pair, inputs: list[Json], named: str
) -> None:
    """400, and the error names the input and the field."""
    status, error = refused(infer(pair, document(inputs)))
    assert status == 400
    assert named in error


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e400", b"0x10", b"01"])
def test_what_is_no_json_number_is_refused(refused: Refused, pair: Pair, number: bytes) -> None:
    """JSON has neither NaN nor infinity."""
    body = document([a(data=["?", 2, 3]), b()]).replace(b'"?"', number)
    status, error = refused(infer(pair, body))
    assert status == 400
    assert "body" in error or "'a'].data" in error


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({"Idempotency-Key": ""}, "Idempotency-Key"),
        ({"Idempotency-Key": "k" * 257}, "256"),
        ({"Idempotency-Key": "caf\xe9"}, "Idempotency-Key"),
        ({"Idempotency-Key": "a\r\nIdempotency-Key: b"}, "twice"),
        ({"Warmroute-Timeout": ""}, "Warmroute-Timeout"),
        ({"Warmroute-Timeout": "0"}, "more than 0"),
        ({"Warmroute-Timeout": "-1"}, "Warmroute-Timeout"),
        ({"Warmroute-Timeout": "1e3"}, "Warmroute-Timeout"),
        ({"Warmroute-Timeout": "nan"}, "Warmroute-Timeout"),
        ({"Warmroute-Timeout": "3600.1"}, "at most 3600"),
        ({"Warmroute-Timeout": "9" * 400}, "Warmroute-Timeout"),
        ({"Warmroute-Timeout": "1\r\nWarmroute-Timeout: 2"}, "twice"),
    ],
)
def test_headers_that_make_no_sense_are_refused(
    refused: Refused, pair: Pair, headers: dict[str, str], named: str
) -> None:
    """400 that names the header and what it wants."""
    body = document([a(), b()])
    status, error = refused(post(f"/v2/models/{pair.name}/infer", body, headers))
    assert status == 400
    assert named in error and next(iter(headers)) in error


def test_a_batch_over_the_models_limit_is_refused(refused: Refused, pair: Pair) -> None:
    """400 that names the limit."""
    five = [a(shape=[5, 3], data=[0] * 15), b(shape=[5, 2], data=[0] * 10)]
    status, error = refused(infer(pair, document(five)))
    assert status == 400
    assert "batch of 5" in error and "at most 4" in error


def test_inputs_of_different_batches_are_refused(refused: Refused, pair: Pair) -> None:
    """The first dimension is the batch, and one request has one."""
    status, error = refused(infer(pair, document([a(shape=[2, 3], data=[0] * 6), b()])))
    assert status == 400
    assert "'b'].shape" in error


@pytest.mark.parametrize("place", ["data", "parameters", "inputs", "everything"])
def test_a_million_brackets_are_refused(refused: Refused, pair: Pair, place: str) -> None:
    """They neither recurse nor take long."""
    deep = b"[" * 1_000_000 + b"]" * 1_000_000
    body = {
        "data": document([a(data="?"), b()]).replace(b'"?"', deep),
        "parameters": document([a(), b()], parameters={"p": "?"}).replace(b'"?"', deep),
        "inputs": b'{"inputs": ' + deep + b"}",
        "everything": deep,
    }[place]
    status, error = refused(infer(pair, body))
    assert status == 400
    assert "body" in error or "'a'].data" in error
    assert len(error) < 300


def test_the_same_request_without_a_fault_is_answered_and_leaves_traces(stack: Stack) -> None:
    """The control: what the refusals above must not leave, a good request does."""
    pair = publish_pair(stack.repository, stack.folder)
    before = stack.traces()
    rows = {"a": np.array([[1, 2, 3]], np.float32), "b": np.array([[4, 5]], np.int64)}

    answer = stack.client().infer(pair.name, rows)

    assert answer["y"].tolist() == [15.0]
    assert any(":holders:" in key for key in stack.traces() - before)
