"""A model that is bound to CPUs: its publisher is told, and a GPU's worker refuses it by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from shared.errors import LoadFailed
from shared.manifest import TensorSpec
from worker.packaging.module import pack_module
from worker.packaging.program import pack_pt2, read
from worker.packaging.whole_file import pack_torchscript, pack_whole_pt2
from worker.runtimes import operators
from worker.runtimes.program import split_inputs
from worker.runtimes.program_graph import GraphBuilder
from worker.runtimes.program_schema import Program


class Attends(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.scaled_dot_product_attention(x, x, x)


class OnCpu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(x, x, x)[0]


class InHalf(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.linear(x)


class Makes(nn.Module):
    def __init__(self, *, named: bool) -> None:
        super().__init__()
        self.named = named

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.ones(4) if self.named else x + torch.ones_like(x)


def build(program: Program, device: str) -> GraphBuilder:
    """The program's graph as a worker with that device would build it."""
    inputs, slots = split_inputs(program)
    weights = [slot.value for slot in slots]
    builder = GraphBuilder(program.graph_module.graph, torch.device(device), fixed=weights)
    builder.build([*weights, *inputs])
    return builder


@pytest.fixture
def decomposed(tmp_path: Path) -> Path:
    """An export whose attention is the kernel for CPUs, as decompositions may leave it."""
    exported = torch.export.export(OnCpu(), (torch.ones(1, 2, 4, 8),))
    torch.export.save(exported, tmp_path / "model.pt2")
    return tmp_path / "model.pt2"


def test_an_operator_of_cpus_is_told_at_push(decomposed: Path, tmp_path: Path) -> None:
    """In both formats; what any device has is not mentioned."""
    for packed in (pack_pt2(decomposed, tmp_path / "out"), pack_whole_pt2(decomposed)):
        (note,) = [note for note in packed.notes if "CPUs only" in note]
        assert "_scaled_dot_product_flash_attention_for_cpu" in note
    packed = pack_module(
        Attends(), None, (torch.ones(1, 2, 4, 8),), None, None, None, tmp_path / "module"
    )
    assert packed.notes == []


def test_an_operator_of_cpus_is_refused_on_a_gpu_before_its_weights_are_there(
    decomposed: Path,
) -> None:
    """With what to do. On a CPU it is served."""
    program = read(decomposed).program
    build(program, "cpu")
    with pytest.raises(LoadFailed, match=r"_for_cpu.* exists on CPUs only: .*DEVICE=cpu"):
        build(program, "cuda")


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("mkldnn_rnn_layer.default", True), ("_mkldnn_transpose.default", True),
        ("fbgemm_linear_int8_weight.default", True), ("_weight_int4pack_mm_for_cpu.default", True),
        ("to_mkldnn.default", True), ("_grid_sampler_2d_cpu_fallback.default", True),
        ("linear.default", False), ("scaled_dot_product_attention.default", False),
        ("cpu.default", False), ("_to_cpu.default", False),
    ],
)  # fmt: skip
def test_operators_of_cpus_are_known_by_their_names(name: str, bound: bool) -> None:
    """A torch without CUDA has no list of those that a GPU has."""
    assert operators.only_on_cpus(f"torch.ops.aten.{name}") is bound


def test_an_autocast_region_of_a_cpu_is_one_of_the_device_that_it_runs_on(tmp_path: Path) -> None:
    """Else it would have no effect there, and other numbers, or other types, would come out."""
    torch.export.save(
        torch.export.export(InHalf().eval(), (torch.ones(2, 4),)), tmp_path / "model.pt2"
    )
    program = read(tmp_path / "model.pt2").program
    for device in ("cpu", "cuda"):
        regions = [
            node for node in build(program, device)._graph.nodes
            if "wrap_with_autocast" in str(node.target)
        ]  # fmt: skip
        assert [node.args[0] for node in regions] == [device]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("named", [True, False])
def test_a_script_that_names_its_device_is_told_at_push(named: bool, tmp_path: Path) -> None:
    """Tracing writes down the device of the machine that it ran on."""
    path = tmp_path / "model.pt"
    torch.jit.trace(Makes(named=named), (torch.ones(4),)).save(str(path))
    packed = pack_torchscript(path, [TensorSpec("x", "FP32", [4])], [TensorSpec("y", "FP32", [4])])
    assert ["'cpu' by name" in note for note in packed.notes] == [True] * named
