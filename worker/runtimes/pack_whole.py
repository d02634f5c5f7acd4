"""Packing formats that stay one file: TorchScript, and `.pt2` as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from shared.manifest import TensorSpec
from worker.runtimes import pytorch_pt2, pytorch_torchscript
from worker.runtimes.packed import Packed, describe
from worker.runtimes.program import LoadedProgram
from worker.runtimes.program_schema import decode
from worker.runtimes.pt2_archive import Pt2Archive


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
