"""BERTs made up on the spot: one trunk that all share, and two matrices of each one's own."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from safetensors.torch import save_file

from shared.manifest import FileEntry, Manifest
from worker.device.base import Device
from worker.runtimes.architectures import architecture
from worker.runtimes.base import LoadedModel, Trust, load
from worker.runtimes.pytorch_architecture import CONFIG, NAME

KIND = "bert_encoder"
OWN = "encoder.layer.{}.{}.dense.weight"  # of the last layer


class Bert(NamedTuple):
    """A version as a worker would load it: its manifest, and its files on disk."""

    manifest: Manifest
    files: dict[str, Path]

    def load(self, device: Device) -> LoadedModel:
        """A copy on the device."""
        return load(self.manifest, self.files, device, Trust())


class Made(NamedTuple):
    """`berts`, their weights in bytes without sharing, and the first as a plain module."""

    berts: list[Bert]
    bytes_alone: int
    plain: torch.nn.Module


def make(folder: Path, count: int, sizes: dict[str, int]) -> Made:
    """`count` fine-tunes of one BERT with seeded weights."""
    torch.manual_seed(0)
    kind = architecture(KIND)
    config = kind.config(**sizes)
    plain = kind.build(config).eval().requires_grad_(False)
    weights = {name: torch.randn(t.shape) * 0.02 for name, t in plain.state_dict().items()}
    last = sum(name.endswith("attention.self.query.weight") for name in weights) - 1
    own = [OWN.format(last, part) for part in ("intermediate", "output")]
    trunk = {name: tensor for name, tensor in weights.items() if name not in own}
    parameters = {CONFIG + name: value for name, value in msgspec.to_builtins(config).items()}
    shared = _written(folder / "trunk", trunk)
    berts = []
    for number in range(count):
        tuned = {name: weights[name] + 0.001 * number for name in own}
        files = {"weights/0.safetensors": shared,
                 "weights/1.safetensors": _written(folder / f"own-{number}", tuned)}  # fmt: skip
        manifest = Manifest(
            name=f"bert-{number}", version=1, platform="pytorch_architecture",
            inputs=kind.inputs(config), outputs=kind.outputs(config),
            files=[FileEntry(name, *entry[1:]) for name, entry in files.items()],
            parameters={NAME: KIND, **parameters},
        )  # fmt: skip
        berts.append(Bert(manifest, {name: entry[0] for name, entry in files.items()}))
    plain.load_state_dict(weights)
    alone = sum(tensor.nbytes for tensor in weights.values())
    return Made(berts, alone * count, plain)


def question(rows: int, tokens: int, vocabulary: int) -> dict[str, np.ndarray]:
    """Inputs of a BERT."""
    ids = np.random.default_rng(rows).integers(0, vocabulary, (rows, tokens))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def _written(path: Path, tensors: dict[str, torch.Tensor]) -> tuple[Path, str, int]:
    file = path.with_suffix(".safetensors")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
    raw = file.read_bytes()
    return file, hashlib.sha256(raw).hexdigest(), len(raw)
