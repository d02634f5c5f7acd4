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
from worker.packaging.module import pack_module
from worker.packaging.program import pack_pt2
from worker.packaging.whole_file import pack_whole_pt2
from worker.runtimes.base import LoadedModel, Trust, load

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


class Alone(nn.Module):
    """Answers one row otherwise than several."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 100 if x.shape[0] == 1 else x


def archive(module: nn.Module, example: object, dims: object, path: Path) -> Path:
    exported = torch.export.export(module.eval(), example, dynamic_shapes=dims)
    torch.export.save(exported, path)
    return path


def test_one_row_that_the_module_answers_otherwise_is_refused(served):
    """The export knows several rows only, and the module was asked whether one is the same."""
    model = served(Alone(), (torch.ones(4, 3),), {"x": {0: AUTO}})
    assert model.run({"x": zeros(2, 3)})["out"].shape == (2, 3)
    with pytest.raises(InvalidInput, match=r"exported for x.shape\[0\] >= 2"):
        model.run({"x": zeros(1, 3)})


class Squeezed(nn.Module):
    """One row comes out with a dimension less than several."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.squeeze(0)


def test_one_row_that_comes_out_with_other_dimensions_is_refused(served):
    """Module and graph agree on it, and still it is not what the manifest says."""
    model = served(Squeezed(), (torch.ones(4, 3),), {"x": {0: AUTO}})
    assert model.run({"x": zeros(2, 3)})["out"].shape == (2, 3)
    with pytest.raises(InvalidInput, match=r"exported for x.shape\[0\] >= 2"):
        model.run({"x": zeros(1, 3)})


@pytest.mark.parametrize("dims", [AUTO, torch.export.Dim("n", min=2)])
@pytest.mark.parametrize("pack", [pack_pt2, pack_whole_pt2])
def test_a_file_exported_for_two_rows_and_more_answers_one_as_its_graph_does(
    pack, dims, publish, device, tmp_path
):
    """As torch's own runtime. No module is at hand to compare with, so push says what that means;
    an archive exported with min=1 is believed."""
    x = torch.ones(4, 3)
    into = [tmp_path / "out"] if pack is pack_pt2 else []
    packed = pack(archive(Add(), (x, x.clone()), ({0: dims},) * 2, tmp_path / "m.pt2"), *into)
    assert "Dim(..., min=1)" in packed.notes[0]
    local = publish(packed)
    model = load(local.manifest, local.files, device, Trust(code=True))
    one = np.ones((1, 3), np.float32)
    first, second = (spec.name for spec in local.manifest.inputs)
    answer = model.run({first: one, second: 2 * one})
    assert next(iter(answer.values())).tolist() == [[3, 3, 3]]
    n = torch.export.Dim("n", min=1)
    assert not pack(archive(Add(), (x, x), ({0: n},) * 2, tmp_path / "m.pt2"), *into).notes


class Joined(nn.Module):
    def forward(self, d: dict[str, torch.Tensor], xs: list[torch.Tensor]) -> torch.Tensor:
        return d["a"] + d["b"] + xs[0] + xs[1]


def test_sizes_of_nested_inputs_that_must_be_equal_are_compared(publish, device, tmp_path):
    """The rules of an export speak of `L['d']['a']`; callers know them as d_a, or d.a."""
    x = torch.ones(4, 3)
    example = ({"a": x, "b": x}, [x, x])
    dims = {"d": {"a": {0: AUTO}, "b": {0: AUTO}}, "xs": [{0: AUTO}, {0: AUTO}]}
    for into in ([tmp_path / "out"], []):
        path = archive(Joined(), example, dims, tmp_path / "m.pt2")
        local = publish(pack_pt2(path, *into) if into else pack_whole_pt2(path))
        model = load(local.manifest, local.files, device, Trust(code=True))
        inputs = {name: zeros(5, 3) for name in ("d_a", "d_b", "xs_0", "xs_1")}
        assert model.run(inputs)["output"].shape == (5, 3)
        with pytest.raises(InvalidInput):
            model.run({**inputs, "xs_1": zeros(4, 3)})


class Following(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + y[1:]


N = torch.export.Dim("n", min=3, max=40)
H, W = torch.export.Dim("h", min=4), torch.export.Dim("w", min=7)


@pytest.mark.parametrize(
    ("module", "shapes", "dims"),
    [
        (Add(), [(4, 3), (4, 3)], ({0: N}, {0: N})),
        (Following(), [(4, 3), (5, 3)], ({0: N}, {0: N + 1})),
        (Pairs(), [(4, 3)], ({0: AUTO},)),
        (Pairs(), [(4, 3)], ({0: 2 * torch.export.Dim("half", min=2)},)),
        (nn.Conv2d(3, 4, 3), [(2, 3, 8, 8)], ({0: AUTO, 2: H, 3: W},)),
        (nn.AvgPool2d(4), [(2, 3, 32, 32)], ({0: AUTO, 2: AUTO, 3: AUTO},)),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 16, 32, 224])
def test_shapes_near_a_size_are_shapes_that_are_taken(
    module, shapes, dims, size, publish, device, tmp_path
):
    """Whatever the ranges, the guards, and the sizes that follow from others."""
    example = tuple(torch.ones(shape) for shape in shapes)
    local = publish(pack_whole_pt2(archive(module, example, dims, tmp_path / "m.pt2")))
    model = load(local.manifest, local.files, device, Trust(code=True))
    for one_row in (False, True):
        near = model.shapes_near(size, one_row)
        if near is not None:
            names = [spec.name for spec in local.manifest.inputs]
            model.run({name: zeros(*shape) for name, shape in zip(names, near, strict=True)})
    assert model.shapes_near(32, False) is not None
