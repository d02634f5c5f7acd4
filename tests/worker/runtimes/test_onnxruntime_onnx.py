"""ONNX models see nothing but their own bytes; text travels as UTF-8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from shared.errors import InvalidInput, LoadFailed, ModelFailed
from shared.manifest import TensorSpec
from tests.helpers.onnx_models import model, save, scaled, squares, value
from tests.worker.runtimes.formats import Local, Publish
from worker.packaging.onnx import pack_onnx
from worker.packaging.result import Packed
from worker.runtimes.base import Trust, load
from worker.runtimes.onnx_session import open_session

TRUSTED = Trust(code=True)


def model_bytes(nodes: list[onnx.NodeProto], kind: int, weights: list[TensorProto]) -> bytes:
    tensors = [helper.make_tensor_value_info(name, kind, ["n"]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", tensors[:1], tensors[1:], weights)
    model: onnx.ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    )
    return model.SerializeToString()


def packed_by_hand(raw: bytes, tmp_path: Path, datatype: str = "FP32") -> Packed:
    path = tmp_path / "m.onnx"
    path.write_bytes(raw)
    x, y = (TensorSpec(name, datatype, [-1]) for name in "xy")
    return Packed("onnxruntime_onnx", {"model.onnx": path}, [x], [y])


@pytest.fixture
def text_model(publish: Publish, tmp_path: Path) -> Local:
    raw = model_bytes([helper.make_node("Identity", ["x"], ["y"])], TensorProto.STRING, [])
    return publish(packed_by_hand(raw, tmp_path, "BYTES"))


def test_text_goes_in_and_out_as_bytes(text_model, device):
    """BYTES tensors are object arrays of bytes on both sides; the model sees text."""
    model = load(text_model.manifest, text_model.files, device, TRUSTED)
    x = np.array([b"plain", "ünï".encode(), b""], dtype=object)
    y = model.run({"x": x})["y"]
    assert y.dtype == object
    assert y.tolist() == x.tolist()


def test_bytes_that_are_no_text_are_the_callers_fault(text_model, device):
    """onnxruntime strings are UTF-8."""
    model = load(text_model.manifest, text_model.files, device, TRUSTED)
    with pytest.raises(InvalidInput, match=r"'x'.*UTF-8"):
        model.run({"x": np.array([b"\xff\x00"], dtype=object)})


def test_an_output_of_another_type_is_the_models_failure(publish, device, tmp_path):
    """The manifest promised a type; another would be decoded as garbage."""
    raw = model_bytes([helper.make_node("Identity", ["x"], ["y"])], TensorProto.FLOAT, [])
    packed = packed_by_hand(raw, tmp_path)
    packed.outputs[0] = TensorSpec("y", "FP64", [-1])
    local = publish(packed)
    model = load(local.manifest, local.files, device, TRUSTED)
    with pytest.raises(ModelFailed, match="float32, not FP64"):
        model.run({"x": np.zeros(1, np.float32)})


@pytest.mark.parametrize(
    ("inputs", "outputs", "reason"),
    [
        (["z"], ["y"], "has no input 'z'"),
        (["x"], ["z"], "has no output 'z'"),
        (["scale"], ["y"], "input 'x' is missing"),
    ],
)
def test_a_manifest_with_other_names_does_not_load(
    inputs, outputs, reason, publish, device, tmp_path
):
    """Found at load, not at the first request."""
    packed = packed_by_hand(scaled().SerializeToString(), tmp_path)
    packed.inputs[:] = [TensorSpec(name, "FP32", [-1]) for name in inputs]
    packed.outputs[:] = [TensorSpec(name, "FP32", [-1]) for name in outputs]
    local = publish(packed)
    with pytest.raises(LoadFailed, match=reason):
        load(local.manifest, local.files, device, TRUSTED)


@pytest.mark.parametrize("optional", [True, False])
def test_an_input_that_must_be_given_cannot_be_optional(optional, publish, device, tmp_path):
    """A request without it would fail in the model."""
    packed = packed_by_hand(scaled().SerializeToString(), tmp_path)
    packed.inputs[0] = TensorSpec("x", "FP32", [-1], optional)
    local = publish(packed)
    if not optional:
        load(local.manifest, local.files, device, TRUSTED)
        return
    with pytest.raises(LoadFailed, match=r"'x'.*every request"):
        load(local.manifest, local.files, device, TRUSTED)


def test_an_optional_input_is_given_or_its_default_used(publish, device, tmp_path):
    """As onnxruntime itself takes it."""
    local = publish(pack_onnx(save(scaled(), tmp_path / "m.onnx")))
    model = load(local.manifest, local.files, device, TRUSTED)
    x = np.float32([1, 2])
    assert model.run({"x": x})["y"].tolist() == [3, 6]
    assert model.run({"x": x, "scale": np.float32([10])})["y"].tolist() == [10, 20]


def test_sizes_that_the_model_calls_by_one_name_and_differ_are_the_callers_fault(
    publish, device, tmp_path
):
    """If it fails for them: the message names both dimensions. Equal ones are served."""
    local = publish(pack_onnx(save(squares(), tmp_path / "m.onnx")))
    model = load(local.manifest, local.files, device, TRUSTED)
    assert model.run({"x": np.ones((1, 2, 2), np.float32)})["y"].tolist() == [[[2, 2], [2, 2]]]
    with pytest.raises(InvalidInput, match=r"dimension 2 is 3, dimension 1 of 'x' is 2.*'h'"):
        model.run({"x": np.ones((1, 2, 3), np.float32)})


def test_sizes_of_one_name_may_differ_where_the_model_does_not_mind(publish, device, tmp_path):
    """Exporters give one name to sizes that have nothing to do with each other."""
    node = helper.make_node("Shape", ["x"], ["y"])
    ends = [value("x", ["n", "n"]), value("y", [2], TensorProto.INT64)]
    local = publish(pack_onnx(save(model([node], ends[:1], ends[1:]), tmp_path / "m.onnx")))
    loaded = load(local.manifest, local.files, device, TRUSTED)
    assert loaded.run({"x": np.ones((2, 3), np.float32)})["y"].tolist() == [2, 3]


def test_a_session_keeps_no_copy_of_the_file_and_no_arena(tmp_path):
    """What is held is what its runs need: nothing of the bytes it was opened from."""
    session = open_session(save(scaled(), tmp_path / "m.onnx"))
    assert session._model_bytes is None
    assert not session.get_session_options().enable_cpu_mem_arena


def test_a_session_has_one_thread(tmp_path):
    """One worker is one core: sessions do not bring pools of their own."""
    path = tmp_path / "m.onnx"
    path.write_bytes(
        model_bytes([helper.make_node("Identity", ["x"], ["y"])], TensorProto.FLOAT, [])
    )
    assert pack_onnx(path).inputs[0].name == "x"
    options = open_session(path).get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
