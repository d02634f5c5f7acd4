"""Formats that stay one file: described from themselves where they can be."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from shared.errors import InvalidInput, LoadFailed
from shared.manifest import TensorSpec
from tests.worker.runtimes.formats import WIDTH, pack_onnx_mlp, pack_pt2, pack_script
from worker.packaging.onnx import pack_onnx
from worker.packaging.whole_file import pack_whole_pt2


def described(specs: list[TensorSpec]) -> list[tuple[str, str, list[int]]]:
    return [(spec.name, spec.datatype, list(spec.shape)) for spec in specs]


@pytest.mark.parametrize("pack", [pack_onnx_mlp, pack_pt2, pack_script])
def test_a_whole_model_is_one_file_with_its_tensors_described(pack, tmp_path):
    """ONNX and .pt2 say what they take; for TorchScript the publisher said it."""
    packed = pack(tmp_path)
    assert len(packed.files) == 1
    assert described(packed.inputs) == [("x", "FP32", [-1, WIDTH])]
    assert described(packed.outputs) == [("y", "FP32", [-1, 3])]


def identity(kind: int, shape: list[object]) -> bytes:
    tensors = [helper.make_tensor_value_info(name, kind, shape) for name in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "g", tensors[:1], tensors[1:]
    )
    model: onnx.ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8
    )
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("kind", "datatype"),
    [
        (TensorProto.STRING, "BYTES"),
        (TensorProto.BOOL, "BOOL"),
        (TensorProto.FLOAT16, "FP16"),
        (TensorProto.INT32, "INT32"),
        (TensorProto.DOUBLE, "FP64"),
    ],
)
def test_onnx_types_get_their_names_in_the_protocol(kind, datatype, tmp_path):
    """Also for the types that few models use; unknown sizes are -1."""
    path = tmp_path / "m.onnx"
    path.write_bytes(identity(kind, ["n", 3, None]))
    assert described(pack_onnx(path).inputs) == [("x", datatype, [-1, 3, -1])]


def test_onnx_types_that_cannot_be_sent_are_refused(tmp_path):
    """A model that takes complex numbers or bfloat16 is refused when it is packed."""
    path = tmp_path / "m.onnx"
    path.write_bytes(identity(TensorProto.BFLOAT16, [1]))
    with pytest.raises(InvalidInput, match="'x' is"):
        pack_onnx(path)


@pytest.mark.parametrize("pack", [pack_onnx, pack_whole_pt2])
def test_what_is_no_model_is_refused_when_packed(pack, tmp_path: Path):
    """Nothing broken is uploaded."""
    path = tmp_path / "broken"
    path.write_bytes(b"not a model" * 10)
    with pytest.raises(LoadFailed):
        pack(path)
