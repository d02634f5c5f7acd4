"""ONNX models see nothing but their own bytes; text travels as UTF-8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from shared.errors import InvalidInput, LoadFailed, ModelFailed
from shared.manifest import TensorSpec
from tests.worker.runtimes.formats import Local, Publish
from worker.runtimes.base import Trust, load
from worker.runtimes.packaging import Packed, pack_onnx

TRUSTED = Trust(code=True)


def model_bytes(nodes: list[onnx.NodeProto], kind: int, weights: list[TensorProto]) -> bytes:
    tensors = [helper.make_tensor_value_info(name, kind, ["n"]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", tensors[:1], tensors[1:], weights)
    model: onnx.ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    )
    return model.SerializeToString()


def with_weights_in(location: str) -> bytes:
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("length", "16")):
        weight.external_data.add(key=key, value=value)
    return model_bytes([helper.make_node("Add", ["x", "w"], ["y"])], TensorProto.FLOAT, [weight])


def packed_by_hand(raw: bytes, tmp_path: Path, datatype: str = "FP32") -> Packed:
    path = tmp_path / "m.onnx"
    path.write_bytes(raw)
    x, y = (TensorSpec(name, datatype, [-1]) for name in "xy")
    return Packed("onnxruntime_onnx", {"model.onnx": path}, [x], [y])


@pytest.mark.parametrize("place", ["w.bin", "../w.bin", "absolute"])
def test_weights_outside_the_model_are_refused(place, publish, device, tmp_path, monkeypatch):
    """onnxruntime would read them from the working directory of the worker."""
    inside = tmp_path / "folder"
    inside.mkdir()
    for folder in (inside, tmp_path):
        (folder / "w.bin").write_bytes(np.ones(4, np.float32).tobytes())
    monkeypatch.chdir(inside)
    location = str(tmp_path / "w.bin") if place == "absolute" else place
    local = publish(packed_by_hand(with_weights_in(location), tmp_path))
    with pytest.raises(LoadFailed, match=r"(?i)external data") as caught:
        load(local.manifest, local.files, device, TRUSTED)
    assert str(tmp_path) not in caught.value.message


def test_onnxruntime_alone_would_have_read_them(tmp_path, monkeypatch):
    """The danger is real: from bytes, with the same options otherwise, the file is read."""
    (tmp_path / "w.bin").write_bytes(np.ones(4, np.float32).tobytes())
    monkeypatch.chdir(tmp_path)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(with_weights_in("w.bin"), options)
    (y,) = session.run(None, {"x": np.zeros(4, np.float32)})
    np.testing.assert_array_equal(y, np.ones(4))


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
    ],
)
def test_a_manifest_with_other_names_does_not_load(
    inputs, outputs, reason, publish, device, tmp_path
):
    """Found at load, not at the first request."""
    raw = model_bytes([helper.make_node("Identity", ["x"], ["y"])], TensorProto.FLOAT, [])
    packed = packed_by_hand(raw, tmp_path)
    packed.inputs[:] = [TensorSpec(name, "FP32", [-1]) for name in inputs]
    packed.outputs[:] = [TensorSpec(name, "FP32", [-1]) for name in outputs]
    local = publish(packed)
    with pytest.raises(LoadFailed, match=reason):
        load(local.manifest, local.files, device, TRUSTED)


def test_a_session_has_one_thread(tmp_path):
    """One worker is one core: sessions do not bring pools of their own."""
    path = tmp_path / "m.onnx"
    path.write_bytes(
        model_bytes([helper.make_node("Identity", ["x"], ["y"])], TensorProto.FLOAT, [])
    )
    assert pack_onnx(path).inputs[0].name == "x"
    from worker.runtimes.onnxruntime_onnx import open_session

    options = open_session(path).get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
