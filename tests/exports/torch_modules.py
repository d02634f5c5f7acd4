"""Small modules of the kinds that people export, each with inputs, outputs and questions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tests.exports.export import Arrays

Random = np.random.Generator


def _floats(random: Random, *shape: int) -> np.ndarray:
    return random.standard_normal(shape, np.float32)


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.relu(self.one(x)))


class Convolution(nn.Module):
    """Free height and width, 3 x 3 kernels without padding: a picture of one pixel is too small."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.first(x))).mean((2, 3))


class Embedding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.norm = nn.Embedding(50, 8), nn.LayerNorm(8)

    def forward(self, ids: Tensor) -> Tensor:
        return self.norm(self.table(ids)).mean(1)


class TwoInputs(nn.Module):
    """Named against the alphabet, so that an order by name is seen."""

    def forward(self, later: Tensor, early: Tensor) -> tuple[Tensor, Tensor]:
        return later - 2 * early, (later * early).sum(1)


class Named(nn.Module):
    """A dict as output: its keys are the names."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        logits = self.head(x)
        return {"logits": logits, "best": logits.argmax(1)}


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.keys, self.queries, self.values = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        scores = self.queries(x) @ self.keys(x).transpose(1, 2) / 8**0.5
        scores = scores.masked_fill(mask.unsqueeze(1) == 0, -1e9)
        return torch.softmax(scores, -1) @ self.values(x)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRU(5, 6, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x)[0][:, -1]


class Kinds(nn.Module):
    """Other datatypes out than in."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return x > 0, x.to(torch.int64) * 3, x.double() / 3


class Integers(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x - 7


class Half(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(-1, 1, 5, dtype=torch.float16))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + 1


class Whole(nn.Module):
    """No batch: the first dimension is like any other, and a scalar comes out."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.sum(), x.flip(0)


class ColumnSums(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cumsum(x, 1).sort(1, descending=True)[0]


@dataclass(frozen=True)
class Subject:
    """`inputs` and `outputs`: specs as on the command line. `ask(random, n)`: a request of n rows.
    `rows`: whether the first dimension is a batch. `keys`: whether outputs have their own names."""

    module: Callable[[], nn.Module]
    inputs: dict[str, str]
    outputs: dict[str, str]
    ask: Callable[[Random, int], Arrays]
    rows: bool = True
    keys: bool = False


SUBJECTS = {
    "mlp": Subject(
        Mlp, {"x": "FP32:-1,8"}, {"y": "FP32:-1,4"}, lambda r, n: {"x": _floats(r, n, 8)}
    ),
    "convolution": Subject(
        Convolution, {"x": "FP32:-1,3,-1,-1"}, {"y": "FP32:-1,4"},
        lambda r, n: {"x": _floats(r, n, 3, 7 + n, 9)},
    ),
    "embedding": Subject(
        Embedding, {"ids": "INT64:-1,-1"}, {"y": "FP32:-1,8"},
        lambda r, n: {"ids": r.integers(0, 50, (n, 5))},
    ),
    "two-inputs": Subject(
        TwoInputs, {"later": "FP32:-1,4", "early": "FP32:-1,4"},
        {"difference": "FP32:-1,4", "product": "FP32:-1"},
        lambda r, n: {"later": _floats(r, n, 4), "early": _floats(r, n, 4)},
    ),
    "named": Subject(
        Named, {"x": "FP32:-1,6"}, {"logits": "FP32:-1,3", "best": "INT64:-1"},
        lambda r, n: {"x": _floats(r, n, 6)}, keys=True,
    ),
    "attention": Subject(
        Attention, {"x": "FP32:-1,-1,8", "mask": "INT64:-1,-1"}, {"y": "FP32:-1,-1,8"},
        lambda r, n: {"x": _floats(r, n, 6, 8), "mask": (r.random((n, 6)) > 0.3).astype(np.int64)},
    ),
    "recurrent": Subject(
        Recurrent, {"x": "FP32:-1,6,5"}, {"y": "FP32:-1,6"}, lambda r, n: {"x": _floats(r, n, 6, 5)}
    ),
    "kinds": Subject(
        Kinds, {"x": "FP32:-1,3"},
        {"positive": "BOOL:-1,3", "whole": "INT64:-1,3", "third": "FP64:-1,3"},
        lambda r, n: {"x": 9 * _floats(r, n, 3)},
    ),
    "integers": Subject(
        Integers, {"x": "INT32:-1,4"}, {"y": "INT32:-1,4"},
        lambda r, n: {"x": r.integers(-900, 900, (n, 4), np.int32)},
    ),
    "half": Subject(
        Half, {"x": "FP16:-1,5"}, {"y": "FP16:-1,5"},
        lambda r, n: {"x": _floats(r, n, 5).astype(np.float16)},
    ),
    "whole": Subject(
        Whole, {"x": "FP32:-1"}, {"total": "FP32:", "reversed": "FP32:-1"},
        lambda r, n: {"x": _floats(r, 3 + n)}, rows=False,
    ),
    "column-sums": Subject(
        ColumnSums, {"x": "FP64:-1,-1"}, {"y": "FP64:-1,-1"}, lambda r, n: {"x": r.random((n, 7))}
    ),
}  # fmt: skip


def made(subject: Subject) -> nn.Module:
    """The module with weights that are the same each time."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return subject.module().eval()
