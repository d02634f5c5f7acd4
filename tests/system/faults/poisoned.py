"""A model that one input kills its process with, and for which batches surely pay.

It spends most of a call on what does not depend on the number of rows, so a worker runs its
requests together. (Small networks may be faster one by one; see worker/warmup.py.)
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from shared.manifest import Batching, Manifest, TensorSpec
from shared.repository import Repository, publish
from tests.chaos.models import MAGIC, poison
from tests.helpers.models import WIDTH, Array, Mlp

__all__ = ["MAGIC", "poison", "publish_poisoned"]


def publish_poisoned(repository: Repository, folder: Path) -> Mlp:
    """Publish it, in batches of up to 8."""
    dice = np.random.default_rng(17)
    model = Mlp(
        "poisoned",
        dice.standard_normal((WIDTH, 32), np.float32) / 4,
        dice.standard_normal((32, WIDTH), np.float32) / 6,
    )
    file = folder / "poisoned.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(_Poisoned(model.first, model.second).eval()).save(str(file))
    manifest = Manifest(
        name=model.name,
        version=1,
        platform="pytorch_torchscript",
        inputs=[TensorSpec("x", "FP32", [-1, WIDTH])],
        outputs=[TensorSpec("y", "FP32", [-1, WIDTH])],
        files=[],
        batching=Batching(max_size=8),
    )
    publish(repository, manifest, {"model.pt": file})
    file.unlink()
    return model


class _Poisoned(nn.Module):
    def __init__(self, first: Array, second: Array) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.from_numpy(first))
        self.second = nn.Parameter(torch.from_numpy(second))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(x @ self.first) @ self.second
        if bool((x[:, 0] == 12345.0).any()):
            far = torch.full([1, 1], 1 << 44, dtype=torch.int64)
            unchecked = torch.ops.aten._sparse_coo_tensor_unsafe(far, torch.ones(1), [1])
            y = y + unchecked.to_dense()
        for _ in range(2000):
            y = y + 0.0
        return y
