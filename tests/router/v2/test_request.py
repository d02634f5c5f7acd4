"""A V2 inference request in order: what goes to the worker, and how the answer is wanted."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.v2.request import InferRequest, parse
from shared.errors import InvalidInput
from shared.manifest import Batching, Manifest, TensorSpec
from shared.tensor_bytes import pack_bytes
from tests.helpers.factories import manifest, spec

X = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}
TWO = manifest(
    inputs=[spec("a", "INT64", [-1, 2]), spec("t", "BYTES", [-1])],
    outputs=[spec("y"), spec("z", "FP16")],
)


def read(document: Any, model: Manifest | None = None, binary: bytes = b"") -> InferRequest:
    """Parse a request with binary tensors after its JSON, if there are any."""
    raw = json.dumps(document).encode()
    return parse(raw + binary, str(len(raw)) if binary else None, model or manifest())


def test_the_smallest_request() -> None:
    """All outputs are wanted, as JSON, by the gateway's own deadline."""
    request = read({"inputs": [X]})
    (sent,) = request.envelope.inputs
    assert (sent.name, sent.datatype, sent.shape) == ("x", "FP32", [1, 2])
    assert bytes(sent.data) == np.array([1, 2], "<f4").tobytes()
    assert (request.envelope.outputs, request.envelope.id) == ([], "")
    assert (request.timeout_us, request.binary, request.binary_default) == (None, {}, False)


def test_inputs_are_put_in_the_order_of_the_manifest() -> None:
    """Requests that name them otherwise can share a batch."""
    a = {"name": "a", "datatype": "INT64", "shape": [1, 2], "data": [[1, 2]]}
    t = {"name": "t", "datatype": "BYTES", "shape": [1], "data": ["hi"]}
    for inputs in ([a, t], [t, a]):
        names = [sent.name for sent in read({"inputs": inputs}, TWO).envelope.inputs]
        assert names == ["a", "t"]


@pytest.mark.parametrize("given", [["a"], ["a", "t"], ["t", "a"]])
def test_an_optional_input_may_be_left_out(given: list[str]) -> None:
    """What was given goes on, in the manifest's order; what must be given is still asked for."""
    every = {
        "a": {"name": "a", "datatype": "INT64", "shape": [1, 2], "data": [[1, 2]]},
        "t": {"name": "t", "datatype": "BYTES", "shape": [1], "data": ["hi"]},
    }
    a, t = TWO.inputs
    model = manifest(inputs=[a, TensorSpec(t.name, t.datatype, t.shape, optional=True)])
    request = read({"inputs": [every[name] for name in given]}, model)
    assert [sent.name for sent in request.envelope.inputs] == sorted(given)
    with pytest.raises(InvalidInput, match=r"\['a'\] missing"):
        read({"inputs": [every["t"]]}, model)


def test_what_the_caller_wants_back() -> None:
    """Outputs by name, each in its form; id and deadline."""
    request = read(
        {
            "id": "mine", "inputs": [X], "parameters": {"timeout": 5, "binary_data_output": True},
            "outputs": [{"name": "y", "parameters": {"binary_data": False}}],
        }
    )  # fmt: skip
    assert request.envelope.id == "mine"
    assert request.envelope.outputs == ["y"]
    assert (request.timeout_us, request.binary, request.binary_default) == (5, {"y": False}, True)


def test_unknown_members_and_parameters_are_passed_over() -> None:
    """Clients send what other servers know."""
    document = {"inputs": [X | {"extra": 1}], "new": {"a": [1]}, "parameters": {"priority": 1}}
    assert read(document).envelope.inputs[0].name == "x"


def test_nulls_stand_for_nothing() -> None:
    """Some clients write every member, also that of the form that they do not use."""
    x = X | {"parameters": None}
    assert read({"inputs": [x], "outputs": None, "parameters": None}).envelope.outputs == []
    x = binary("x", "FP32", [1, 2], 8) | {"data": None}
    assert bytes(read({"inputs": [x]}, binary=bytes(8)).envelope.inputs[0].data) == bytes(8)
    x = binary("x", "FP32", [0, 2], 0) | {"data": None}
    assert read({"inputs": [x]}).envelope.inputs[0].shape == [0, 2]


def test_switched_off_extensions_are_no_obstacle() -> None:
    """0, false, an empty text and null say that it is not meant."""
    off = {
        "sequence_id": 0, "sequence_start": False, "sequence_end": None, "classification": 0,
        "shared_memory_region": "", "triton_enable_empty_final_response": False,
    }  # fmt: skip
    document = {
        "inputs": [X | {"parameters": off}], "parameters": off,
        "outputs": [{"name": "y", "parameters": off}],
    }  # fmt: skip
    assert read(document).envelope.inputs


def binary(name: str, datatype: str, shape: list[int], size: int) -> dict[str, Any]:
    parameters = {"binary_data_size": size}
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": parameters}


def test_binary_tensors_follow_in_the_order_of_the_request() -> None:
    """Not in that of the manifest; a JSON tensor may stand between them."""
    texts, numbers = pack_bytes([b"\xff\0", b""]), np.arange(4, dtype="<i8").tobytes()
    document = {"inputs": [binary("t", "BYTES", [2], len(texts)), binary("a", "INT64", [2, 2], 32)]}
    a, t = read(document, TWO, texts + numbers).envelope.inputs
    assert (bytes(a.data), bytes(t.data)) == (numbers, texts)
    document["inputs"][1] = {
        "name": "a",
        "datatype": "INT64",
        "shape": [2, 2],
        "data": [0, 1, 2, 3],
    }
    a, t = read(document, TWO, texts).envelope.inputs
    assert (bytes(a.data), bytes(t.data)) == (numbers, texts)


def test_a_binary_tensor_is_not_copied() -> None:
    """It is a view of the received body."""
    document = json.dumps({"inputs": [binary("x", "FP32", [1, 2], 8)]}).encode()
    body = document + bytes(8)
    data = parse(body, str(len(document)), manifest()).envelope.inputs[0].data
    assert data.obj is body


def test_half_precision_comes_as_binary() -> None:
    """FP16 and BF16 have no JSON form."""
    for datatype in ("FP16", "BF16"):
        model = manifest(inputs=[spec("x", datatype, [-1])], batching=Batching())
        request = read({"inputs": [binary("x", datatype, [3], 6)]}, model, b"123456")
        assert bytes(request.envelope.inputs[0].data) == b"123456"


def test_a_header_length_without_binary_is_the_whole_body() -> None:
    """Clients that always send the header are understood."""
    raw = json.dumps({"inputs": [X]}).encode()
    assert parse(raw, str(len(raw)), manifest()).envelope.inputs[0].name == "x"


def test_a_batch_up_to_the_limit_passes() -> None:
    """And one beyond does not, see the bad input."""
    x = X | {"shape": [4, 2], "data": [[1, 2]] * 4}
    assert read({"inputs": [x]}).envelope.inputs[0].shape == [4, 2]


def test_a_model_that_is_not_batched_takes_what_its_shape_says() -> None:
    """Its first dimension is no batch, so inputs may differ in it."""
    model = manifest(
        inputs=[spec("a", "FP32", [-1]), spec("b", "FP32", [-1]), spec("c", "FP32", [])],
        batching=Batching(max_size=1),
    )
    inputs = [
        {"name": "a", "datatype": "FP32", "shape": [3], "data": [1, 2, 3]},
        {"name": "b", "datatype": "FP32", "shape": [1], "data": [1]},
        {"name": "c", "datatype": "FP32", "shape": [], "data": [1]},
    ]
    assert [t.shape for t in read({"inputs": inputs}, model).envelope.inputs] == [[3], [1], []]


@given(st.integers(1, 4), st.integers(1, 4), st.booleans())
def test_any_array_arrives_as_it_is(rows: int, columns: int, flat: bool) -> None:
    """Nested or flat."""
    array = np.arange(rows * columns, dtype="<f4").reshape(rows, columns)
    model = manifest(inputs=[spec("x", "FP32", [-1, -1])])
    data = array.reshape(-1).tolist() if flat else array.tolist()
    sent = read({"inputs": [X | {"shape": [rows, columns], "data": data}]}, model).envelope.inputs[
        0
    ]
    assert bytes(sent.data) == array.tobytes()


@pytest.mark.parametrize("timeout", [1, 10**6, 2**63 - 1])
def test_a_deadline_is_in_microseconds(timeout: int) -> None:
    """As in Triton's schedule policy."""
    assert read({"inputs": [X], "parameters": {"timeout": timeout}}).timeout_us == timeout
