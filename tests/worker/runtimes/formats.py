"""One small real model in every format, and the same model in plain torch."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from shared.manifest import FileEntry, Manifest, TensorSpec
from worker.packaging.architecture import pack_architecture
from worker.packaging.module import pack_module
from worker.packaging.onnx import pack_onnx
from worker.packaging.result import Packed
from worker.packaging.whole_file import pack_torchscript, pack_whole_pt2
from worker.runtimes.architectures.mtcnn_onet import ONet, ONetConfig

WIDTH = 520  # 520 x 520 float32: one weight over 1 MiB, so that it gets a file of its own
BATCH = torch.export.Dim("batch", min=1, max=64)


class Mlp(nn.Module):
    """fp32 [B, 520] to fp32 [B, 3]."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.hidden = nn.Linear(WIDTH, WIDTH)
            self.head = nn.Linear(WIDTH, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.hidden(x)))


@dataclass(frozen=True)
class Local:
    """A manifest and its files as the blob cache has them: named by hash, without extension."""

    manifest: Manifest
    files: dict[str, Path]

    def path(self, name: str) -> Path:
        return self.files[name]


Publish = Callable[..., Local]


def publish(packed: Packed, cache: Path, name: str = "model") -> Local:
    """Put the files of a Packed into a cache folder and write its manifest."""
    cache.mkdir(parents=True, exist_ok=True)
    entries, files = [], {}
    for file, path in packed.files.items():
        raw = path.read_bytes()
        sha256 = hashlib.sha256(raw).hexdigest()
        files[file] = cache / sha256
        files[file].write_bytes(raw)
        entries.append(FileEntry(file, sha256, len(raw)))
    manifest = Manifest(
        name=name,
        version=1,
        platform=packed.platform,
        inputs=packed.inputs,
        outputs=packed.outputs,
        files=entries,
        parameters=packed.parameters,
    )
    return Local(manifest, files)


def pack_program(folder: Path, seed: int = 0) -> Packed:
    example = (torch.zeros(2, WIDTH),)
    return pack_module(Mlp(seed), None, example, {"x": {0: BATCH}}, None, ["y"], folder)


def pack_pt2(folder: Path, seed: int = 0) -> Packed:
    example = (torch.zeros(2, WIDTH),)
    exported = torch.export.export(Mlp(seed).eval(), example, dynamic_shapes={"x": {0: BATCH}})
    path = folder / "whole.pt2"
    folder.mkdir(parents=True, exist_ok=True)
    torch.export.save(exported, path)
    return pack_whole_pt2(path, output_names=["y"])


def pack_script(folder: Path, seed: int = 0) -> Packed:
    path = folder / "script.pt"
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(Mlp(seed).eval(), torch.zeros(2, WIDTH)).save(str(path))
    return pack_torchscript(
        path, [TensorSpec("x", "FP32", [-1, WIDTH])], [TensorSpec("y", "FP32", [-1, 3])]
    )


def onnx_mlp(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Gemm", ["x", "hidden.weight", "hidden.bias"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "head.weight", "head.bias"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opset = [helper.make_opsetid("", 13)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def pack_onnx_mlp(folder: Path, seed: int = 0) -> Packed:
    path = folder / "model.onnx"
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.numpy() for name, tensor in Mlp(seed).state_dict().items()}
    path.write_bytes(onnx_mlp(weights).SerializeToString())
    return pack_onnx(path)


def pack_onet(folder: Path, seed: int = 0) -> Packed:
    return pack_architecture("mtcnn_onet", {}, onet(seed).state_dict(), folder)


def onet(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ONet(ONetConfig()).eval()


@dataclass(frozen=True)
class Format:
    """A platform, how a model of it is made, and the same model in plain torch."""

    pack: Callable[[Path, int], Packed]
    reference: Callable[[int], nn.Module]
    main_file: str

    def inputs(self, batch: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(batch)
        if self.reference is onet:
            return {"images": rng.standard_normal((batch, 3, 48, 48), dtype=np.float32)}
        return {"x": rng.standard_normal((batch, WIDTH), dtype=np.float32)}

    def expected(self, inputs: dict[str, np.ndarray], seed: int = 0) -> list[np.ndarray]:
        with torch.inference_mode():
            outputs = self.reference(seed).eval()(*map(torch.from_numpy, inputs.values()))
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return [output.numpy() for output in outputs]


FORMATS = {
    "pytorch_architecture": Format(pack_onet, onet, "weights/small.safetensors"),
    "pytorch_program": Format(pack_program, Mlp, "program.json"),
    "pytorch_torchscript": Format(pack_script, Mlp, "model.pt"),
    "pytorch_pt2": Format(pack_pt2, Mlp, "model.pt2"),
    "onnxruntime_onnx": Format(pack_onnx_mlp, Mlp, "model.onnx"),
}
