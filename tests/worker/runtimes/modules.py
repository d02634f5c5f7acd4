"""Small modules of every kind that people push, with what they take and return, for a table of
modules by formats."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

Arrays = dict[str, np.ndarray]
Make = Callable[[int], Arrays]


class Pair(NamedTuple):
    low: Tensor
    high: Tensor


@dataclasses.dataclass
class Scored:
    score: Tensor
    shown: Tensor


class Minus(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a - b * 2


class KeywordOnly(nn.Module):
    def forward(self, x: Tensor, *, w: Tensor) -> Tensor:
        return x - w * 3


class AsDict(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"zed": x + 1, "alpha": x - 1}


class AsPair(nn.Module):
    def forward(self, x: Tensor) -> Pair:
        return Pair(x.clamp(max=0), x.clamp(min=0))


class AsDataclass(nn.Module):
    def forward(self, x: Tensor) -> Scored:
        return Scored(x.sum(1), x * 5)


class AsNested(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"heads": [x + 1, x + 2], "inner": {"last": x + 3}}


class TakesDict(nn.Module):
    def forward(self, d: dict[str, Tensor], scale: Tensor) -> Tensor:
        return (d["a"] - d["b"] * 2) * scale


class TakesList(nn.Module):
    def forward(self, xs: list[Tensor], y: Tensor) -> Tensor:
        return xs[0] - xs[1] * 2 + y * 3


class InputReturned(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x + 1


class TwiceTheSame(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = x * 2
        return y, y


class ParameterReturned(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([4.0, 5.0, 6.0]))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * self.w, self.w


class Unused(nn.Module):
    def forward(self, x: Tensor, unused: Tensor) -> Tensor:
        return x * 2


class Buffers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kept", torch.arange(3.0))
        self.register_buffer("made", torch.ones(3) * 2, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.kept + self.made + torch.tensor([1.0, 2.0, 3.0])


class WritesItsInput(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x.add_(1)
        return x * 2


class ManyTypes(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {
            "positive": x > 0,
            "whole": x.to(torch.int32),
            "half": x.half(),
            "exact": x.double(),
        }


class Strided(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return x.t(), x[:, ::2], x[:1].expand(4, -1)


class Sized(nn.Module):
    """Sizes of the answer that depend on those of the input."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([x, x]), x.sum(0)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def rows(*names: str, width: int = 3) -> Make:
    """float32 [n, width] under each name."""

    def make(n: int) -> Arrays:
        rng = np.random.default_rng(n)
        return {name: rng.standard_normal((n, width), dtype=np.float32) for name in names}

    return make


def sequences(n: int) -> Arrays:
    return {"x": np.random.default_rng(n).standard_normal((n, 4, 6), dtype=np.float32)}


@dataclasses.dataclass(frozen=True)
class Case:
    """A module; flat inputs by their dotted names, the first size varies; the outputs' names."""

    module: Callable[[], nn.Module]
    make: Make
    outputs: tuple[str, ...] = ("output",)


CASES = {
    "two inputs": Case(Minus, rows("a", "b")),
    "by keyword only": Case(KeywordOnly, rows("x", "w")),
    "a dict": Case(AsDict, rows("x"), ("zed", "alpha")),
    "a NamedTuple": Case(AsPair, rows("x"), ("low", "high")),
    "a dataclass": Case(AsDataclass, rows("x"), ("score", "shown")),
    "nested": Case(AsNested, rows("x"), ("heads.0", "heads.1", "inner.last")),
    "takes a dict": Case(TakesDict, rows("d.a", "d.b", "scale")),
    "takes a list": Case(TakesList, rows("xs.0", "xs.1", "y")),
    "returns its input": Case(InputReturned, rows("x"), ("output_0", "output_1")),
    "returns one tensor twice": Case(TwiceTheSame, rows("x"), ("output_0", "output_1")),
    "returns a parameter": Case(ParameterReturned, rows("x"), ("output_0", "output_1")),
    "an input without use": Case(Unused, rows("x", "unused")),
    "buffers and constants": Case(Buffers, rows("x")),
    "writes its input": Case(WritesItsInput, rows("x")),
    "many types": Case(ManyTypes, rows("x"), ("positive", "whole", "half", "exact")),
    "strided": Case(Strided, rows("x"), ("output_0", "output_1", "output_2")),
    "other sizes": Case(Sized, rows("x"), ("output_0", "output_1")),
    "attention": Case(Attention, sequences),
}
