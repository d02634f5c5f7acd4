"""Tensors at the edges, through real processes: none, one or no dimension, at every door."""

from __future__ import annotations

import json
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from shared.manifest import Manifest, TensorSpec
from shared.repository import publish
from shared.tensor_bytes import pack_bytes
from tests.helpers.models import Mlp
from tests.helpers.stack import Stack
from tests.system.setup import Refused, post

LENGTH = "Inference-Header-Content-Length"
ELEMENTS = {
    "BOOL": (TensorProto.BOOL, True), "UINT8": (TensorProto.UINT8, 255),
    "INT64": (TensorProto.INT64, -(2**63)), "UINT64": (TensorProto.UINT64, 2**64 - 1),
    "FP32": (TensorProto.FLOAT, 0.5), "FP64": (TensorProto.DOUBLE, -0.25),
    "BYTES": (TensorProto.STRING, "caf\u00e9"), "FP16": (TensorProto.FLOAT16, 1.5),
}  # fmt: skip
WITH_JSON = sorted(set(ELEMENTS) - {"FP16"})
CODES = {"BOOL": "?", "UINT8": "B", "INT64": "q", "UINT64": "Q", "FP32": "f", "FP64": "d"}
SHAPES = [[0, 3], [2, 0], [0, 0], [1, 2]]


def publish_echo(stack: Stack, datatype: str, rank: int = 2) -> str:
    """A model that gives back what it gets, `x` as `y`; its name."""
    name = f"echo-{datatype.lower()}-{rank}"
    sizes = [f"n{axis}" for axis in range(rank)]
    x, y = (helper.make_tensor_value_info(n, ELEMENTS[datatype][0], sizes) for n in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y])
    file = stack.folder / f"{name}.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), file
    )
    free = [-1] * rank
    manifest = Manifest(
        name=name, version=1, platform="onnxruntime_onnx", files=[],
        inputs=[TensorSpec("x", datatype, free)], outputs=[TensorSpec("y", datatype, free)],
    )  # fmt: skip
    publish(stack.repository, manifest, {"model.onnx": file})
    return name


def raw_of(datatype: str, values: list[Any]) -> bytes:
    if datatype == "BYTES":
        return pack_bytes([text.encode() for text in values])
    return struct.pack(f"<{len(values)}{CODES[datatype]}", *values)


def x(datatype: str, shape: list[int], **more: Any) -> dict[str, Any]:
    return {"name": "x", "datatype": datatype, "shape": shape, **more}


def asked(stack: Stack, model: str, document: dict[str, Any], tail: bytes | None = None) -> Any:
    """The first output of an answer over HTTP, with its bytes if it is binary."""
    head = json.dumps(document).encode()
    headers = {} if tail is None else {LENGTH: str(len(head))}
    answer = stack.http("POST", f"/v2/models/{model}/infer", head + (tail or b""), headers)
    assert answer.status == 200, answer
    length = int(answer.headers.get(LENGTH.lower(), len(answer.body)))
    return json.loads(answer.body[:length])["outputs"][0], answer.body[length:]


def streamed(stack: Stack, model: str, document: dict[str, Any]) -> dict[bytes, bytes]:
    """The answer at the stream door."""
    where = f"answers-{model}"
    stack.redis.delete(where)
    row: dict[Any, Any] = {"model": model, "reply_to": where, "body": json.dumps(document)}
    stack.redis.xadd(stack.keys.ingress, row)
    ((_, entries),) = stack.redis.xread({where: "0"}, block=30_000)
    return dict(entries[0][1])


@pytest.mark.parametrize("datatype", WITH_JSON)
def test_an_empty_tensor_is_a_tensor_at_every_door(stack: Stack, datatype: str) -> None:
    """JSON nested and flat, binary, stream: what comes back is what was sent."""
    model = publish_echo(stack, datatype)
    for shape in SHAPES:
        values = [ELEMENTS[datatype][1]] * int(np.prod(shape))
        nested = np.array(values, dtype=object).reshape(shape).tolist()
        for data in (values, nested):
            row, _ = asked(stack, model, {"inputs": [x(datatype, shape, data=data)]})
            assert (row["shape"], row["data"]) == (shape, values)
        raw = raw_of(datatype, values)
        sent = x(datatype, shape, parameters={"binary_data_size": len(raw)})
        document = {"inputs": [sent], "parameters": {"binary_data_output": True}}
        row, back = asked(stack, model, document, raw)
        assert (row["shape"], back) == (shape, raw)
        told = streamed(stack, model, {"inputs": [x(datatype, shape, data=nested)]})
        row = json.loads(told[b"body"])["outputs"][0]
        assert (row["shape"], row["data"]) == (shape, values)


@pytest.mark.parametrize("datatype", WITH_JSON)
def test_a_scalar_is_a_bare_value(stack: Stack, datatype: str) -> None:
    """Or a list of one."""
    model, value = publish_echo(stack, datatype, rank=0), ELEMENTS[datatype][1]
    for data in (value, [value]):
        row, _ = asked(stack, model, {"inputs": [x(datatype, [], data=data)]})
        assert (row["shape"], row["data"]) == ([], [value])


def test_an_empty_batch_is_answered_beside_others(stack: Stack, mlp: Mlp) -> None:
    """With no rows, and its neighbours with theirs."""
    questions = [mlp.question(seed, rows=seed % 3) for seed in range(60)]
    client = stack.client()
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda q: client.infer(mlp.name, q)["y"], questions))
    for question, answer in zip(questions, answers, strict=True):
        assert answer.shape == question["x"].shape
        assert mlp.right(question, answer)


def test_a_body_of_bytes_only_is_the_only_input(stack: Stack, mlp: Mlp) -> None:
    """Of a batched model as many rows as it holds; the answer is binary."""
    question = mlp.question(rows=2)
    path = f"/v2/models/{mlp.name}/infer"
    answer = stack.http("POST", path, question["x"].tobytes(), {LENGTH: "0"})
    length = int(answer.headers[LENGTH.lower()])
    said = np.frombuffer(answer.body[length:], "<f4").reshape(2, 16)
    assert mlp.right(question, said)


def half(stack: Stack) -> tuple[str, bytes, dict[str, str]]:
    """Path, body and headers of a request with FP16 in and out, that wants JSON."""
    sent = x("FP16", [1, 1], parameters={"binary_data_size": 2})
    head = json.dumps({"inputs": [sent]}).encode()
    path = f"/v2/models/{publish_echo(stack, 'FP16')}/infer"
    return path, head + b"\0\0", {LENGTH: str(len(head))}


def test_an_output_without_a_json_form_is_refused_before_it_is_queued(
    stack: Stack, refused: Refused
) -> None:
    """With the way to ask for it; `refused` sees that nothing is left behind."""
    status, error = refused(post(*half(stack)))
    assert status == 400
    assert "'y'" in error and "binary_data_output" in error


def test_who_polls_may_choose_the_form_later(stack: Stack) -> None:
    """So it is accepted; a poll for JSON says how to ask."""
    path, body, headers = half(stack)
    answer = stack.http("POST", path, body, {**headers, "Prefer": "respond-async"})
    assert answer.status == 202
    where = answer.headers["location"] + "?wait=30"
    assert "Accept: application/octet-stream" in stack.http("GET", where).json()["response_error"]
    polled = stack.http("GET", where, headers={"Accept": "application/octet-stream"})
    assert polled.body.endswith(b"\0\0") and LENGTH.lower() in polled.headers
    waiting = {**headers, "Prefer": "respond-async, wait=5"}
    assert stack.http("POST", path, body, waiting).status == 400


def test_the_stream_door_refuses_what_it_cannot_write(stack: Stack, mlp: Mlp) -> None:
    """At once, with the way out: an answer in binary."""
    row = x("FP32", [1, 16], data=[0.5] * 16)
    for more in (
        {"parameters": {"binary_data_output": True}},
        {"outputs": [{"name": "y", "parameters": {"binary_data": True}}]},
    ):
        told = streamed(stack, mlp.name, {"inputs": [row], **more})
        assert (told[b"status"], told[b"code"]) == (b"failed", b"unsupported")
        assert b"over HTTP" in told[b"error"]
