"""Small modules made at random: a chain of steps, some of which mix the rows of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tests.exports.export import Arrays
from tests.exports.torch_modules import Subject

WIDTH = 6


class Scaled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x) * 1.5 - 0.25


class Turned(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flip(1).cumsum(1)


class Ordered(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sort(1)[0]


class Chosen(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x * x, -x)


class Weighed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(x, 1) * x


# Those below look at other rows, or at how many there are.


class Centred(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0, keepdim=True)


class OrderedDown(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sort(0)[0]


class Rolled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.roll(x, 1, 0)


class Counted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.size(0)


class Summed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.cumsum(0)


class Largest(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / (1 + x.abs().max())


ROWWISE: tuple[Callable[[], nn.Module], ...] = (
    Scaled, Turned, Ordered, Chosen, Weighed,
    lambda: nn.Linear(WIDTH, WIDTH), lambda: nn.LayerNorm(WIDTH), lambda: nn.BatchNorm1d(WIDTH),
)  # fmt: skip
MIXING: tuple[Callable[[], nn.Module], ...] = (
    Centred, OrderedDown, Rolled, Counted, Summed, Largest
)  # fmt: skip


class Chain(nn.Module):
    """FP32 [n, 6] twice in; the chain's end, and a sum for each row, out."""

    def __init__(self, steps: list[nn.Module]) -> None:
        super().__init__()
        self.steps = nn.Sequential(*steps)

    def forward(self, second: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
        return self.steps(first) + 0.5 * second, (first * second).sum(1)


@dataclass(frozen=True)
class Generated:
    """A module, as the exporters of the table take it."""

    subject: Subject
    mixes: bool


def generate(seed: int) -> Generated:
    """The module of a seed; every third mixes rows."""
    random = np.random.default_rng(seed)
    kinds = [ROWWISE[i] for i in random.integers(0, len(ROWWISE), random.integers(1, 5))]
    mixes = seed % 3 == 0
    if mixes:
        kinds.append(MIXING[seed // 3 % len(MIXING)])  # last: a norm behind it could undo it

    def ask(random: np.random.Generator, rows: int) -> Arrays:
        return {
            name: random.standard_normal((rows, WIDTH), np.float32) for name in ("second", "first")
        }

    sides = dict.fromkeys(("second", "first"), f"FP32:-1,{WIDTH}")
    outputs = {"end": f"FP32:-1,{WIDTH}", "sums": "FP32:-1"}
    subject = Subject(lambda: Chain([kind() for kind in kinds]), sides, outputs, ask)
    return Generated(subject, mixes)
