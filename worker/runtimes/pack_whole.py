"""Packing formats that stay one file: ONNX, TorchScript, and `.pt2` as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from shared.errors import InvalidInput
from shared.manifest import TensorSpec
from worker.runtimes import onnxruntime_onnx, pytorch_pt2, pytorch_torchscript
from worker.runtimes.packed import Packed, describe
from worker.runtimes.program import LoadedProgram
from worker.runtimes.program_schema import decode
from worker.runtimes.pt2_archive import Pt2Archive

ONNX_TYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}


def pack_onnx(path: Path) -> Packed:
    """An ONNX model as it is; names, types and shapes are its own. LoadFailed if it is none."""
    session = onnxruntime_onnx.open_session(path)
    return Packed(
        "onnxruntime_onnx",
        {onnxruntime_onnx.MODEL_FILE: path},
        [_onnx_spec(node) for node in session.get_inputs()],
        [_onnx_spec(node) for node in session.get_outputs()],
    )


def pack_torchscript(
    path: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> Packed:
    """A TorchScript archive as it is. It does not say what it takes, so the publisher must."""
    files = {pytorch_torchscript.MODEL_FILE: path}
    return Packed("pytorch_torchscript", files, list(inputs), list(outputs))


def pack_whole_pt2(
    path: Path,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> Packed:
    """A torch.export archive as it is, its example inputs included, which are never opened."""
    archive = Pt2Archive(path)
    program = decode(archive.program())
    LoadedProgram(program, torch.device("cpu"), sha256="", size=0).bind(pytorch_pt2.stored(archive))
    inputs, outputs = describe(program, input_names, output_names)
    return Packed("pytorch_pt2", {pytorch_pt2.MODEL_FILE: path}, inputs, outputs)


def _onnx_spec(node: Any) -> TensorSpec:
    if node.type not in ONNX_TYPES:
        raise InvalidInput(f"tensor {node.name!r} is {node.type}, which cannot be served")
    shape = [size if isinstance(size, int) and size >= 0 else -1 for size in node.shape]
    return TensorSpec(node.name, ONNX_TYPES[node.type], shape)
