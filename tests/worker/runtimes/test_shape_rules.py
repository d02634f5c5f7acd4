"""A program answers only for shapes it was exported for; for others it says which rule broke."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from shared.errors import InvalidInput
from tests.worker.runtimes.formats import Publish
from worker.device.cpu import CpuDevice
from worker.runtimes.base import LoadedModel, Trust, load
from worker.runtimes.packaging import pack_module

AUTO = torch.export.Dim.AUTO


class Branch(nn.Module):
    """Doubles small batches and triples large ones: an export knows only one of the two."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.shape[0] <= 16 else x * 3


class Pairs(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(x.shape[0] // 2, 2, 3).sum(1)


class Add(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + y


@pytest.fixture
def served(publish: Publish, tmp_path: Path, device: CpuDevice):
    def serve(module: nn.Module, example: tuple[torch.Tensor, ...], dims: object) -> LoadedModel:
        packed = pack_module(module, None, example, dims, None, ["out"], tmp_path / "packed")
        local = publish(packed)
        return load(local.manifest, local.files, device, Trust(code=True))

    return serve


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def test_the_branch_that_was_not_traced_is_refused_not_answered_wrongly(served):
    """The graph would double a batch of 17; the module triples it."""
    model = served(Branch(), (torch.ones(4, 3),), {"x": {0: AUTO}})
    assert model.run({"x": zeros(16, 3)})["out"].shape == (16, 3)
    with pytest.raises(InvalidInput, match=r"dimension 0 is 17, the model takes at most 16"):
        model.run({"x": zeros(17, 3)})


def test_a_batch_of_one_is_taken_though_exports_assume_two(served):
    """Bounds of 2 come from how exports specialise, not from the model."""
    model = served(nn.Sequential(nn.Linear(3, 2)), (torch.ones(4, 3),), {"input": {0: AUTO}})
    assert model.run({"input": zeros(1, 3)})["out"].shape == (1, 2)


def test_a_guard_that_ranges_cannot_say_is_kept(served):
    """Odd batches are refused by the rule of the export, in words of the caller's inputs."""
    model = served(Pairs(), (torch.ones(4, 3),), {"x": {0: AUTO}})
    assert model.run({"x": zeros(6, 3)})["out"].shape == (3, 3)
    with pytest.raises(InvalidInput, match=r"x\.shape\[0\]"):
        model.run({"x": zeros(5, 3)})


def test_a_declared_minimum_holds(served):
    """A bound the publisher declared is kept."""
    dims = {"input": {0: torch.export.Dim("n", min=3, max=9)}}
    model = served(nn.Sequential(nn.Linear(3, 2)), (torch.ones(4, 3),), dims)
    with pytest.raises(InvalidInput, match="3 or more"):
        model.run({"input": zeros(2, 3)})
    with pytest.raises(InvalidInput, match="at most 9"):
        model.run({"input": zeros(10, 3)})


def test_sizes_that_must_be_equal_are_compared(served):
    """Broadcasting would give an answer the export never promised."""
    n = torch.export.Dim("n", min=2, max=9)
    model = served(Add(), (torch.ones(4), torch.ones(4)), {"x": {0: n}, "y": {0: n}})
    assert model.run({"x": zeros(3), "y": zeros(3)})["out"].shape == (3,)
    with pytest.raises(InvalidInput, match="'y'"):
        model.run({"x": zeros(3), "y": zeros(1)})


def test_fixed_sizes_and_ranks_are_checked(served):
    """A fixed size is fixed, and a missing dimension is not invented."""
    model = served(Add(), (torch.ones(2, 4), torch.ones(2, 4)), None)
    with pytest.raises(InvalidInput, match="dimension 1 is 5, the model takes 4"):
        model.run({"x": zeros(2, 5), "y": zeros(2, 4)})
    with pytest.raises(InvalidInput, match="1 dimensions, not 2"):
        model.run({"x": zeros(4), "y": zeros(2, 4)})


def test_rules_are_checked_again_after_a_refusal(served):
    """Only accepted shapes are remembered."""
    model = served(Branch(), (torch.ones(4, 3),), {"x": {0: AUTO}})
    for _ in range(2):
        with pytest.raises(InvalidInput):
            model.run({"x": zeros(17, 3)})
    assert model.run({"x": zeros(2, 3)})
