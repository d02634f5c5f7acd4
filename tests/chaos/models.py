"""The models of a chaos run: more than fit in memory, and one that crashes when told to.

`fragile` is a network like the others, scripted, until a row of its input begins with MAGIC: then
it writes through an index that nothing has checked (a sparse tensor made without validation), and
the process dies of SIGSEGV. That is what a bug in a native operator does to a worker.
"""

from __future__ import annotations

import itertools
import random
import warnings
from bisect import bisect
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from shared.manifest import Batching, Manifest, TensorSpec
from shared.repository import Repository, publish
from tests.helpers.models import WIDTH, Array, Mlp, Slow, publish_mlp, publish_slow

MAGIC = 12345.0
WIDE_ROWS = 2304  # 144 KiB of input: such tensors of waiting callers travel in shared memory


@dataclass(frozen=True)
class Zoo:
    """All models of a run."""

    plain: list[Mlp]
    fragile: Mlp
    wide: Mlp
    slow: Slow

    def choose(self, dice: random.Random) -> Mlp:
        """A plain one; a few are asked for often, most now and then (Zipf, exponent 1)."""
        return self.plain[bisect(self._shares(), dice.random() * self._shares()[-1])]

    def _shares(self) -> list[float]:
        return list(itertools.accumulate(1 / rank for rank in range(1, len(self.plain) + 1)))


def publish_zoo(repository: Repository, folder: Path, *, count: int, size: int) -> Zoo:
    """Publish `count` plain models of about `size` bytes each, and the special ones."""
    return Zoo(
        plain=[publish_mlp(repository, folder, size=size) for _ in range(count)],
        fragile=_publish_scripted(repository, folder, "fragile", max_size=8),
        wide=_publish_scripted(repository, folder, "wide", max_size=2 * WIDE_ROWS),
        slow=publish_slow(repository, folder),
    )


def poison() -> dict[str, Array]:
    """The input on which `fragile` crashes the process."""
    question = {"x": np.zeros((1, WIDTH), np.float32)}
    question["x"][0, 0] = MAGIC
    return question


def _publish_scripted(repository: Repository, folder: Path, name: str, max_size: int) -> Mlp:
    dice = np.random.default_rng(len(name))
    first = dice.standard_normal((WIDTH, 32), np.float32) / 4
    second = dice.standard_normal((32, WIDTH), np.float32) / 6
    file = folder / f"{name}.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(_Fragile(first, second).eval()).save(str(file))
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
        return y
