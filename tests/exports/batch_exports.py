"""Scripts that look at the whole batch only for what is in few requests, pushed with batches.

Whatever push and the workers make of them, each caller has the answer of its own rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tests.exports.export import Arrays, Case, Export
from tests.exports.torch_exports import quiet
from tests.helpers.scripts import Poisoned, Sleeps

COUNT = 48


class ScaledByMean(nn.Module):
    """Rows know of each other only where `scale` is given."""

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        return x if scale is None else x * scale.mean()


class CentredWithout(nn.Module):
    """Rows know of each other only where `scale` is not given."""

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        return x - x.mean(0) if scale is None else x * scale


class OneOfTwoScales(nn.Module):
    """Pictures of 8 bits, or of 16 if one number is beyond."""

    def forward(self, x: Tensor) -> Tensor:
        return x / 65535 if bool(x.max() > 255) else x / 255


def _numbers(number: int) -> Arrays:
    row = np.full((1, 3), float(number), "<f4")
    if number % 5 == 0:
        row *= 1000
    if number % 7 == 0:
        row[0, 1] = np.nan if number % 2 else np.inf
    return {"x": row}


def _scaled(number: int) -> Arrays:
    given = {"x": np.full((1, 3), float(number), "<f4")}
    return given if number % 2 else {**given, "scale": np.full((1, 1), float(number), "<f4")}


def _tokens(number: int) -> Arrays:
    return {"x": np.array([[number % 9, 1, 2]])}


def _case(
    kind: Callable[[], nn.Module], ask: Callable[[int], Arrays], specs: Sequence[str],
    example: Arrays | None = None,
) -> Callable[[Path], Export]:  # fmt: skip
    def original(asked: Arrays) -> Arrays:
        given = {name: torch.from_numpy(array.copy()) for name, array in asked.items()}
        return {"y": kind().eval()(**given).numpy()}

    def make(folder: Path) -> Export:
        with quiet():
            torch.jit.script(kind().eval()).save(str(folder / "model.pt"))
        push: list[str | Path] = ["--file", folder / "model.pt", "--max-batch", "8", *specs]
        if example is not None:
            np.savez(folder / "in.npz", **example)
            push += ["--example", folder / "in.npz"]
        rows = [ask(number) for number in range(COUNT)]
        return Export(push, original, rows[:2], rows)

    return make


X, Y = ["--input", "x:FP32:-1,3"], ["--output", "y:FP32:-1,3"]
SCALE = [*X, "--input", "scale:FP32:-1,1", *Y]
TOKENS = ["--input", "x:INT64:-1,3", "--output", "y:INT64:-1,3"]
BOTH = {"x": np.ones((2, 3), "<f4"), "scale": np.ones((2, 1), "<f4")}
CASES = [
    Case("batch-optional", _case(ScaledByMean, _scaled, SCALE)),
    Case("batch-optional-example", _case(CentredWithout, _scaled, SCALE, BOTH)),
    Case("batch-poisoned", _case(Poisoned, _numbers, [*X, *Y])),
    Case("batch-two-scales", _case(OneOfTwoScales, _numbers, [*X, *Y])),
    Case("batch-sleeps", _case(Sleeps, _tokens, TOKENS)),
]
