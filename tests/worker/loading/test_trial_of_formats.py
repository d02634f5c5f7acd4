"""The trial at load with real models: what mixes rows is found out, what is honest is batched."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from shared.manifest import Batching, FileEntry, Manifest, TensorSpec
from tests.helpers.scripts import MIXING_MODULES, Heavy
from worker.device.cpu import CpuDevice
from worker.loading.warmup import Ready, Warmup
from worker.packaging.program import pack_pt2
from worker.runtimes.base import LoadedModel, Trust, load
from worker.trial.batches import INDEPENDENT, try_batches
from worker.trial.warming import warm_up

BATCHED = Batching(max_size=32)


def loaded(folder: Path, **said: object) -> tuple[Manifest, LoadedModel]:
    """A model of the files in `folder`."""
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    entries = [FileEntry(name, sha256(path), path.stat().st_size) for name, path in files.items()]
    made = Manifest(name="m", version=1, files=entries, **said)
    return made, load(made, files, CpuDevice(), Trust(code=True))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def script_of(
    folder: Path, module: nn.Module, shape: list[int], out: list[int], kind: str = "FP32"
) -> tuple[Manifest, LoadedModel]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(module.eval()).save(str(folder / "model.pt"))
    return loaded(
        folder, platform="pytorch_torchscript", batching=BATCHED,
        inputs=[TensorSpec("x", kind, shape)], outputs=[TensorSpec("y", kind, out)],
    )  # fmt: skip


@pytest.mark.parametrize("name", MIXING_MODULES)
def test_a_script_that_mixes_rows_is_found_out(name: str, tmp_path: Path) -> None:
    """Although batches would pay."""
    module = Heavy(MIXING_MODULES[name]())
    found = Warmup().run(*script_of(tmp_path, module, [-1, 3], [-1, 3]))
    slow = found.partly and name in ("Transposes", "FromFour")  # small batches are honest
    assert found.batching.max_size <= (3 if slow else 1)
    assert (found.unbatched != "") is not slow


HONEST: dict[str, nn.Module] = {
    "deep": nn.Sequential(*[nn.Sequential(nn.Linear(48, 48), nn.GELU()) for _ in range(6)]),
    "attention": nn.TransformerEncoderLayer(48, 4, 96, batch_first=True),
    "normed": nn.Sequential(nn.Linear(48, 64), nn.LayerNorm(64), nn.Softmax(-1)),
    "batch norm in evaluation": nn.Sequential(nn.BatchNorm1d(48), nn.Linear(48, 5)),
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_script_is_not_suspected(name: str, tmp_path: Path) -> None:
    """Rounding is no mixing."""
    torch.manual_seed(3)
    shape = [-1, 7, 48] if name == "attention" else [-1, 48]
    made, model = script_of(tmp_path, HONEST[name].eval(), shape, [-1] * len(shape))
    inputs, _ = warm_up(made, model)
    assert inputs is not None
    assert try_batches(made, model, inputs, patient=True).finding == INDEPENDENT


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_an_honest_script_of_half_precision_is_not_suspected(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    """Its sums differ with the size of a batch, in the last of few bits."""
    torch.manual_seed(3)
    layers = [nn.Sequential(nn.Linear(48, 48), nn.LayerNorm(48), nn.GELU()) for _ in range(6)]
    module = nn.Sequential(*layers).to(dtype).eval()
    kind = "FP16" if dtype == torch.float16 else "BF16"
    made, model = script_of(tmp_path, module, [-1, 48], [-1, 48], kind)
    inputs, _ = warm_up(made, model)
    assert inputs is not None
    assert try_batches(made, model, inputs, patient=True).finding == INDEPENDENT


def onnx_of(folder: Path, *nodes: onnx.NodeProto, **weights: np.ndarray) -> Ready:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    held = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(list(nodes), "g", [x], [y], held)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), folder / "model.onnx")
    made, model = loaded(
        folder, platform="onnxruntime_onnx", batching=BATCHED,
        inputs=[TensorSpec("x", "FP32", [-1, 16])], outputs=[TensorSpec("y", "FP32", [-1, -1])],
    )  # fmt: skip
    return Warmup().run(made, model)


def test_an_onnx_model_is_tried_likewise(tmp_path: Path) -> None:
    """A layer is honest; one on a scale of all activations (dynamic int8) is not, nor is a sum."""
    weight = np.random.default_rng(3).standard_normal((16, 16)).astype("<f4")
    layer = helper.make_node("MatMul", ["x", "w"], ["y"])
    assert onnx_of(tmp_path, layer, w=weight).finding == INDEPENDENT
    quantised = (
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["y"]),
    )
    assert "other rows" in onnx_of(tmp_path, *quantised, w=weight).unbatched
    summed = helper.make_node("CumSum", ["x", "axis"], ["y"])
    assert onnx_of(tmp_path, summed, axis=np.array(0, "<i8")).unbatched != ""


@pytest.mark.parametrize(
    ("module", "shape", "sizes"),
    [
        (nn.Conv2d(3, 4, 3), (2, 3, 8, 8), {0: ("b", 1), 2: ("h", 4), 3: ("w", 4)}),
        (nn.Conv2d(3, 4, 7), (2, 3, 24, 24), {0: ("b", 1), 2: ("h", 20), 3: ("w", 20)}),
        (nn.Conv1d(3, 4, 2, stride=2), (4, 3, 64), {0: ("b", 3), 2: ("t", 40)}),
    ],
)
def test_a_program_says_which_sizes_it_takes(
    module: nn.Module, shape: tuple[int, ...], sizes: dict[int, tuple[str, int]], tmp_path: Path
) -> None:
    """Its ranges and guards are asked before it is run."""
    dims = {axis: torch.export.Dim(name, min=least) for axis, (name, least) in sizes.items()}
    program = torch.export.export(module.eval(), (torch.ones(shape),), dynamic_shapes=(dims,))
    torch.export.save(program, tmp_path / "m.pt2")
    packed = pack_pt2(tmp_path / "m.pt2", tmp_path / "out")
    made, model = loaded(
        tmp_path / "out", platform=packed.platform, inputs=packed.inputs, outputs=packed.outputs,
        batching=BATCHED,
    )  # fmt: skip
    inputs, cold = warm_up(made, model)
    assert cold == ""
    (array,) = inputs.values()
    for axis, (_, least) in sizes.items():
        assert array.shape[axis] >= least
