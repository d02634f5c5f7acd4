"""Tensors at the edges: none, one, or no dimension at all; every datatype, in every form."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from router.v2 import response, tensors
from router.v2.request import InferRequest, check_json_form, parse
from shared import datatypes
from shared.envelope import Envelope, Outcome, pack, unpack_envelope, unpack_outcome
from shared.errors import InvalidInput
from shared.manifest import Batching, Manifest
from shared.names import ModelRef
from shared.tensor_bytes import pack_bytes
from tests.helpers.factories import manifest, spec
from worker.serving.batch_tensors import to_array
from worker.serving.queued_request import QueuedRequest

REF = ModelRef("mnist", 1, "0123456789ab")
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)
FORMS = ["nested", "flat", "binary"]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


def arrays(datatype: str) -> st.SearchStrategy[np.ndarray]:
    """Arrays of a datatype, empty ones and scalars among them. Of BYTES, texts."""
    if datatype == datatypes.BYTES:
        return SHAPES.flatmap(lambda s: hnp.arrays(np.dtype(object), s, elements=TEXTS))
    dtype = datatypes.NUMPY[datatype]
    finite = {"allow_nan": False, "allow_infinity": False} if dtype.kind == "f" else {}
    return SHAPES.flatmap(lambda s: hnp.arrays(dtype, s, elements=hnp.from_dtype(dtype, **finite)))


def raw_of(array: np.ndarray) -> bytes:
    if array.dtype != object:
        return array.tobytes()
    return pack_bytes([text.encode() for text in array.reshape(-1)])


def ask(array: np.ndarray, datatype: str, form: str) -> InferRequest:
    """Parse a request with `array` as its input `x`."""
    x: dict[str, Any] = {"name": "x", "datatype": datatype, "shape": list(array.shape)}
    tail = b""
    if form == "binary":
        tail = raw_of(array)
        x["parameters"] = {"binary_data_size": len(tail)}
    else:
        x["data"] = array.tolist() if form == "nested" else array.reshape(-1).tolist()
    head = json.dumps({"inputs": [x]}).encode()
    model = unbatched(datatype, [-1] * array.ndim)
    return parse(head + tail, str(len(head)), model)


def unbatched(datatype: str, shape: list[int]) -> Manifest:
    return manifest(inputs=[spec("x", datatype, shape)], batching=Batching(max_size=1))


@given(st.data())
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("datatype", sorted(datatypes.ALL))
def test_any_tensor_comes_through_as_it_is(datatype: str, form: str, data: st.DataObject) -> None:
    """From the request over the worker's array to the answer, in JSON where there is one."""
    if datatype in datatypes.NO_JSON and form != "binary":
        return
    array = data.draw(arrays(datatype))
    envelope = unpack_envelope(pack(ask(array, datatype, form).envelope))
    seen = to_array(envelope.inputs[0])
    assert seen.shape == array.shape
    wanted = [text.encode() for text in array.reshape(-1)] if array.dtype == object else array
    assert list(seen.reshape(-1)) == list(np.asarray(wanted, array.dtype).reshape(-1))
    outcome = unpack_outcome(pack(Outcome(envelope.inputs)))
    assert rendered(outcome, binary=True) == ([*array.shape], raw_of(array))
    if datatype not in datatypes.NO_JSON:
        assert rendered(outcome, binary=False) == ([*array.shape], array.reshape(-1).tolist())


def rendered(outcome: Outcome, *, binary: bool) -> tuple[list[int], Any]:
    """Shape and content of the only output of an answer."""
    body, headers = response.render(outcome, REF, {}, binary)
    if not binary:
        row = json.loads(body)["outputs"][0]
        return row["shape"], row["data"]
    length = int(headers[response.HEADER_LENGTH])
    return json.loads(body[:length])["outputs"][0]["shape"], body[length:]


@pytest.mark.parametrize("datatype", sorted(datatypes.ALL - datatypes.NO_JSON))
@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ([0], []), ([2, 0], [[], []]), ([2, 0], []), ([0, 3], []), ([2, 0, 3], [[], []]),
        ([2, 1, 0], [[[]], [[]]]), ([0, 0], []),
    ],
)  # fmt: skip
def test_an_empty_tensor_is_nested_as_far_as_there_is_something_to_nest(
    datatype: str, shape: list[int], data: list[Any]
) -> None:
    """What `tolist()` of it says, or a flat list of nothing."""
    assert tensors.from_json(json.dumps(data).encode(), datatype, shape, "x") == b""


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ([0], [1]), ([2, 0], [[]]), ([2, 0], [[], [], []]), ([2, 0], [[1], []]), ([0, 3], [[]]),
        ([2, 0, 3], [[[]], [[]]]), ([2, 1, 0], [[], []]), ([1], []), ([2, 2], [[], []]),
        ([], []), ([], [1, 2]), ([], [[1]]),
    ],
)  # fmt: skip
def test_lists_of_nothing_must_fit_all_the_same(shape: list[int], data: list[Any]) -> None:
    """Their sizes are looked at like those of others."""
    with pytest.raises(InvalidInput, match=r"x\.data"):
        tensors.from_json(json.dumps(data).encode(), "FP32", shape, "x")


BARE = {"BOOL": b"true", "BYTES": b'"a"', "INT64": b"-9223372036854775808", "FP32": b"0.5",
        "UINT64": b"18446744073709551615"}  # fmt: skip


@pytest.mark.parametrize("datatype", BARE)
@pytest.mark.parametrize("around", [b"%b", b" %b ", b"[%b]"])
def test_a_scalar_is_a_bare_value_or_a_list_of_one(datatype: str, around: bytes) -> None:
    """Both mean the same."""
    value = json.loads(BARE[datatype])
    raw = tensors.from_json(around % BARE[datatype], datatype, [], "x")
    assert tensors.to_json(raw, datatype, "x") == [value]


@pytest.mark.parametrize("datatype", BARE)
def test_a_bare_value_for_a_list_of_one_is_told_how_to_write_it(datatype: str) -> None:
    """It is refused: a shape was given, and it is another."""
    wrapped = BARE[datatype].decode()
    for shape in ([1], [1, 1]):
        with pytest.raises(InvalidInput) as caught:
            tensors.from_json(BARE[datatype], datatype, shape, "x")
        assert f"wrap it: [{wrapped}]" in caught.value.message


@pytest.mark.parametrize("raw", [b"null", b"{}", b'"5"', b"true", b"[", b"nope", b""])
def test_what_is_no_number_is_no_scalar(raw: bytes) -> None:
    """Bare or not."""
    with pytest.raises(InvalidInput, match=r"x\.data"):
        tensors.from_json(raw, "FP32", [], "x")


INTEGERS = [d for d in sorted(datatypes.NUMPY) if d.startswith(("INT", "UINT"))]


@pytest.mark.parametrize("datatype", INTEGERS)
@pytest.mark.parametrize("count", [1, 600])
@pytest.mark.parametrize("nested", [False, True])
def test_a_number_out_of_range_is_named_with_the_range(
    datatype: str, count: int, nested: bool
) -> None:
    """In one wording, however long the tensor is and however it is written."""
    least, most = datatypes.limits(datatype)
    for wrong in (int(least) - 1, int(most) + 1):
        values: list[Any] = [0] * (count - 1) + [wrong]
        data = [[value] for value in values] if nested else values
        with pytest.raises(InvalidInput) as caught:
            tensors.from_json(json.dumps(data).encode(), datatype, [count, 1], "inputs['x']")
        said = f"element {count - 1} is {wrong}, {datatype} holds {least} to {most}"
        assert caught.value.message == f"inputs['x'].data: {said}"


@pytest.mark.parametrize("datatype", sorted(datatypes.NO_JSON))
def test_an_output_without_a_json_form_is_asked_for_in_binary(datatype: str) -> None:
    """Refused before anything runs, unless it is not wanted, or wanted in binary."""
    model = manifest(outputs=[spec("f", "FP32"), spec("h", datatype)])
    binary, plain = {"binary_data": True}, {"binary_data": False}
    f, h = {"name": "f"}, {"name": "h"}
    all_binary = {"binary_data_output": True}
    good: list[dict[str, Any]] = [
        {"outputs": [f]}, {"outputs": [h | {"parameters": binary}]}, {"parameters": all_binary},
        {"outputs": [f, h], "parameters": all_binary},
    ]  # fmt: skip
    bad: list[dict[str, Any]] = [
        {}, {"outputs": []}, {"outputs": [h]}, {"outputs": [f | {"parameters": binary}, h]},
        {"outputs": [h | {"parameters": plain}], "parameters": all_binary},
    ]  # fmt: skip
    x = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}
    for more in good:
        request = parse(json.dumps({"inputs": [x], **more}).encode(), None, model)
        check_json_form(request, model, "ask so")
    for more in bad:
        request = parse(json.dumps({"inputs": [x], **more}).encode(), None, model)
        with pytest.raises(InvalidInput, match=rf"outputs\['h'\]: {datatype}.*ask so"):
            check_json_form(request, model, "ask so")


def test_an_empty_batch_has_no_batch_mates() -> None:
    """What a model makes of no rows must not depend on who is beside it."""
    x = np.zeros((0, 2), "<f4")
    request = parse(
        json.dumps(
            {"inputs": [{"name": "x", "datatype": "FP32", "shape": [0, 2], "data": []}]}
        ).encode(),
        None,
        manifest(),
    )
    assert to_array(request.envelope.inputs[0]).shape == x.shape
    work = QueuedRequest(
        b"1-0", b"i", "m:1:0", 0, b"", b"", Envelope(request.envelope.inputs), 0, 0, (), 0, 0
    )
    assert work.isolated
