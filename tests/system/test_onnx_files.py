"""ONNX models as exporters write them, pushed by the command line and asked through the cell."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper

from deploy.cli.main import main
from tests.helpers import onnx_models
from tests.helpers.onnx_models import save, value
from tests.helpers.stack import Stack

WIDTH = 64
Push = Callable[..., None]


@pytest.fixture
def push(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Push:
    """`warmroute push NAME ...` into the cell's repository."""
    monkeypatch.setenv("MODEL_REPOSITORY", stack.servers.repository_url)
    monkeypatch.setenv("WARMROUTE_TRUST_CODE", stack.servers.repository_url)

    def run(*arguments: object) -> None:
        assert main(["push", *map(str, arguments)]) == 0

    return run


def exported(path: Path, **options: object) -> Path:
    """Two layers, as today's torch writes them: with `m.onnx.data` beside them, unless told."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(WIDTH, 512), torch.nn.ReLU(), torch.nn.Linear(512, 4))
    weights = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    nodes = [
        helper.make_node("Gemm", ["x", "0.weight", "0.bias"], ["a"], transB=1),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Gemm", ["b", "2.weight", "2.bias"], ["y"], transB=1),
    ]
    made = onnx_models.model(
        nodes,
        [value("x", ["n", WIDTH])],
        [value("y", ["n", 4])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    onnx.save(made, path, **options)
    return path


FILES = {
    "inside": {},
    "one file": {"save_as_external_data": True, "location": "m.onnx.data"},
    "a file each": {"save_as_external_data": True, "all_tensors_to_one_file": False},
}


@pytest.mark.parametrize("kind", FILES)
def test_weights_wherever_they_lie_give_onnxruntimes_own_answers(
    kind: str, push: Push, stack: Stack, tmp_path: Path
) -> None:
    """One by one and sixteen at a time, which are run in batches."""
    path = exported(tmp_path / "m.onnx", **FILES[kind])
    session = onnxruntime.InferenceSession(path)
    name = "onnx-" + kind.replace(" ", "-")
    push(name, "--file", path, "--max-batch", 8)
    rows = np.random.default_rng(1).standard_normal((48, 1, WIDTH), np.float32)

    def ask(x: np.ndarray) -> np.ndarray:
        return stack.client().infer(name, {"x": x})["y"]

    with ThreadPoolExecutor(16) as callers:
        answers = [ask(rows[0]), *callers.map(ask, rows[1:])]
    for x, y in zip(rows, answers, strict=True):
        np.testing.assert_allclose(y, session.run(None, {"x": x})[0], rtol=1e-5, atol=1e-5)


def test_an_input_with_a_default_may_be_left_out_or_given(
    push: Push, stack: Stack, tmp_path: Path
) -> None:
    """The model's page marks it, and only it."""
    push("scaled", "--file", save(onnx_models.scaled(), tmp_path / "m.onnx"))
    x = np.float32([1, 2])
    client = stack.client()
    assert client.infer("scaled", {"x": x})["y"].tolist() == [3, 6]
    assert client.infer("scaled", {"x": x, "scale": np.float32([10])})["y"].tolist() == [10, 20]
    inputs = stack.http("GET", "/v2/models/scaled").json()["inputs"]
    assert [spec.get("optional") for spec in inputs] == [None, True]


def test_sizes_that_must_be_equal_and_are_not_are_the_callers_fault(
    push: Push, stack: Stack, tmp_path: Path
) -> None:
    """400 that names both dimensions; equal ones are answered before and after."""
    push("squares", "--file", save(onnx_models.squares(), tmp_path / "m.onnx"))
    square = np.ones((1, 2, 2), np.float32)
    assert stack.client().infer("squares", {"x": square})["y"].sum() == 8
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2, 3], "data": [1] * 6}
    body = json.dumps({"inputs": [tensor]}).encode()
    answer = stack.http("POST", "/v2/models/squares/infer", body)
    assert (answer.status, "dimension 2 is 3" in answer.json()["error"]) == (400, True)
    assert stack.client().infer("squares", {"x": square})["y"].sum() == 8
