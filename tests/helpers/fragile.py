"""A model that one input kills its process with.

A network like the others, scripted, until a row of its input begins with MAGIC: then it writes
through an index that nothing has checked (a sparse tensor made without validation), and the process
dies of SIGSEGV. That is what a bug in a native operator does to a worker.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from shared.manifest import Batching, Manifest, TensorSpec
from shared.repository import Repository, publish
from tests.helpers.models import WIDTH, Array, Mlp

MAGIC = 12345.0


def poison() -> dict[str, Array]:
    """The input on which it crashes the process."""
    question = {"x": np.zeros((1, WIDTH), np.float32)}
    question["x"][0, 0] = MAGIC
    return question


def publish_fragile(
    repository: Repository, folder: Path, name: str, max_size: int, steps: int = 0
) -> Mlp:
    """Publish one, in batches of up to `max_size` rows. Each of `steps` costs some time a call,
    whatever the number of rows, so that batches pay."""
    dice = np.random.default_rng(len(name))
    first = dice.standard_normal((WIDTH, 32), np.float32) / 4
    second = dice.standard_normal((32, WIDTH), np.float32) / 6
    file = folder / f"{name}.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(_Fragile(first, second, steps).eval()).save(str(file))
    manifest = Manifest(
        name=name,
        version=1,
        platform="pytorch_torchscript",
        inputs=[TensorSpec("x", "FP32", [-1, WIDTH])],
        outputs=[TensorSpec("y", "FP32", [-1, WIDTH])],
        files=[],
        batching=Batching(max_size=max_size),
    )
    publish(repository, manifest, {"model.pt": file})
    file.unlink()
    return Mlp(name, first, second)


class _Fragile(nn.Module):
    def __init__(self, first: Array, second: Array, steps: int) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.from_numpy(first))
        self.second = nn.Parameter(torch.from_numpy(second))
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(x @ self.first) @ self.second
        if bool((x[:, 0] == 12345.0).any()):
            far = torch.full([1, 1], 1 << 44, dtype=torch.int64)
            unchecked = torch.ops.aten._sparse_coo_tensor_unsafe(far, torch.ones(1), [1])
            y = y + unchecked.to_dense()
        for _ in range(self.steps):
            y = y + 0.0
        return y
