"""What the ledger says of copies is what the process has grown by, whatever the format."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from onnxruntime import quantization
from torch import nn

from shared.manifest import TensorSpec
from tests.worker.runtimes import formats
from tests.worker.runtimes.formats import Mlp
from worker.packaging.module import pack_module
from worker.packaging.onnx import pack_onnx
from worker.packaging.result import Packed
from worker.packaging.whole_file import pack_torchscript

pytestmark = pytest.mark.timeout(300)  # a process of its own for each format

ROOT = Path(__file__).parents[3]
WIDTH, MODELS = 1536, 3  # one weight of 9 MiB each
MIB = 1 << 20


class Dequantised(nn.Module):
    """An Mlp whose hidden weight is int8, and float only while it runs."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        net = Mlp(seed)
        weight = net.hidden.weight.detach()
        self.register_buffer("scale", weight.abs().amax(1, keepdim=True) / 127)
        self.register_buffer("weight", (weight / self.scale).round().to(torch.int8))
        self.head = net.head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(x @ (self.weight.float() * self.scale).t()))


def int8_script(folder: Path, seed: int) -> Packed:
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = torch.ao.quantization.quantize_dynamic(Mlp(seed).eval(), {nn.Linear}, torch.qint8)
        torch.jit.trace(small, torch.zeros(2, WIDTH)).save(str(folder / "int8.pt"))
    ins, outs = [TensorSpec("x", "FP32", [-1, WIDTH])], [TensorSpec("y", "FP32", [-1, 3])]
    return pack_torchscript(folder / "int8.pt", ins, outs)


def int8_onnx(folder: Path, seed: int) -> Packed:
    formats.pack_onnx_mlp(folder, seed)
    quantization.quantize_dynamic(folder / "model.onnx", folder / "int8.onnx")
    return pack_onnx(folder / "int8.onnx")


def int8_program(folder: Path, seed: int) -> Packed:
    shapes = {"x": {0: formats.BATCH}}
    example = (torch.zeros(2, WIDTH),)
    return pack_module(Dequantised(seed).eval(), None, example, shapes, None, ["y"], folder)


PACKS: dict[str, Callable[[Path, int], Packed]] = {
    "TorchScript": formats.pack_script,
    "TorchScript, int8": int8_script,
    "ONNX": formats.pack_onnx_mlp,
    "ONNX, int8": int8_onnx,
    "program": formats.pack_program,
    "program, int8": int8_program,
    "whole .pt2": formats.pack_pt2,
}


def published(pack: Callable[[Path, int], Packed], tmp_path: Path) -> list[str]:
    """Folders of models with weights of their own, and a small one before them."""
    folders = []
    for seed in range(MODELS + 1):
        packed = pack(tmp_path / f"made{seed}", seed)
        folder = tmp_path / str(seed)
        local = formats.publish(packed, folder, f"model{seed}")
        (folder / "manifest.json").write_bytes(local.manifest.encode())
        np.savez(folder / "inputs.npz", x=np.ones((2, WIDTH), "<f4"))
        folders.append(str(folder))
    return folders


@pytest.mark.parametrize("kind", PACKS)
def test_the_ledger_counts_what_the_process_has_grown_by(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own, after the first model has set up what the format needs: within
    15 %, and 2 MiB for all that is no model's."""
    monkeypatch.setattr(formats, "WIDTH", WIDTH)
    folders = published(PACKS[kind], tmp_path)
    command = [sys.executable, "-m", "tests.worker.loading.growing", *folders]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["ledger"] > MODELS * 2 * MIB
    assert abs(found["grown"] - found["ledger"]) < 0.15 * found["ledger"] + 2 * MIB, found
