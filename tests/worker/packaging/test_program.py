"""What `push` makes of a module or a .pt2: a description, a graph and weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from shared.errors import Corrupt, InvalidInput
from tests.worker.runtimes.formats import BATCH, WIDTH, Mlp, pack_program
from worker.packaging.module import pack_module
from worker.packaging.program import pack_pt2
from worker.runtimes.base import Trust, load

TRUSTED = Trust(code=True)
EXAMPLE = (torch.zeros(2, WIDTH),)


def save(module: nn.Module, path: Path, example: tuple[torch.Tensor, ...] = EXAMPLE) -> Path:
    exported = torch.export.export(module.eval(), example, dynamic_shapes={"x": {0: BATCH}})
    torch.export.save(exported, path)
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_inputs_and_outputs_are_read_from_the_graph(tmp_path):
    """Names, types and shapes need not be typed; sizes that vary are -1."""
    packed = pack_pt2(save(Mlp(), tmp_path / "m.pt2"), tmp_path / "out")
    assert packed.platform == "pytorch_program"
    (x,), (y,) = packed.inputs, packed.outputs
    assert (x.name, x.datatype, list(x.shape)) == ("x", "FP32", [-1, WIDTH])
    assert (y.name, y.datatype, list(y.shape)) == ("output", "FP32", [-1, 3])


def test_a_module_and_its_pt2_give_the_same_files(tmp_path):
    """Both ways of pushing one model publish the same bytes."""
    from_module = pack_program(tmp_path / "module")
    from_archive = pack_pt2(save(Mlp(), tmp_path / "m.pt2"), tmp_path / "archive")
    assert {n: sha256(p) for n, p in from_module.files.items()} == {
        n: sha256(p) for n, p in from_archive.files.items()
    }


def test_variants_share_the_program_and_what_was_not_trained(tmp_path):
    """A head-only fine-tune adds one small file to a repository."""
    base = pack_program(tmp_path / "base")
    state = Mlp().state_dict()
    state["head.bias"] = state["head.bias"] + 1
    tuned = pack_module(Mlp(), state, EXAMPLE, {"x": {0: BATCH}}, None, ["y"], tmp_path / "tuned")
    differing = [n for n in base.files if sha256(base.files[n]) != sha256(tuned.files[n])]
    assert differing == ["weights/small.safetensors"]


def test_the_program_does_not_depend_on_the_example(tmp_path):
    """Another example batch gives the same graph, hence the same shared program."""
    one = pack_program(tmp_path / "one")
    example = (torch.ones(5, WIDTH),)
    two = pack_module(Mlp(), None, example, {"x": {0: BATCH}}, None, ["y"], tmp_path / "two")
    assert sha256(one.files["program.json"]) == sha256(two.files["program.json"])


def test_nothing_of_the_publishers_machine_is_published(tmp_path):
    """Stack traces with paths, which torch writes into its graphs, are left out."""
    raw = pack_program(tmp_path).files["program.json"].read_text()
    assert ".py" not in raw
    assert "stack_trace" not in raw
    assert json.loads(raw)["graph_module"].keys() == {"graph", "signature"}


def test_what_has_no_name_can_be_given_one(tmp_path):
    """An input has a name in the export; an output that is no dict's has a place only."""
    path = save(Mlp(), tmp_path / "m.pt2")
    packed = pack_pt2(path, tmp_path / "out", input_names=["x"], output_names=["scores"])
    assert [spec.name for spec in (*packed.inputs, *packed.outputs)] == ["x", "scores"]
    with pytest.raises(InvalidInput, match="2 names for 1"):
        pack_pt2(path, tmp_path / "out", output_names=["a", "b"])
    with pytest.raises(InvalidInput, match="no 'features', it has 'x'"):
        pack_pt2(path, tmp_path / "out", input_names=["features"])


def test_tied_and_channels_last_weights_survive_the_journey(publish, device, tmp_path):
    """Shared memory is stored once, memory order is kept, the answer is the module's."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 3, 3, padding=1)
            self.second = nn.Conv2d(3, 3, 3, padding=1)
            self.second.weight = self.first.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(x))

    module = Tied().to(memory_format=torch.channels_last)
    x = torch.randn(2, 3, 8, 8)
    packed = pack_module(module, None, (x,), {"x": {0: BATCH}}, None, None, tmp_path / "out")
    assert packed.parameters == {"alias.second.weight": "first.weight"}
    local = publish(packed)
    model = load(local.manifest, local.files, device, TRUSTED)
    with torch.inference_mode():
        np.testing.assert_array_equal(model.run({"x": x.numpy()})["output"], module(x).numpy())


def test_constants_of_the_code_travel_as_safetensors(publish, device, tmp_path):
    """Tensors that are neither parameters nor buffers are weights like any other."""

    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.offset = torch.tensor([1.0, 2.0])
            self.register_buffer("scale", torch.tensor([3.0, 4.0]), persistent=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.scale + self.offset + torch.tensor([10.0, 20.0])

    x = torch.ones(3, 2)
    packed = pack_module(Shifted(), None, (x,), None, None, None, tmp_path / "out")
    local = publish(packed)
    model = load(local.manifest, local.files, device, TRUSTED)
    np.testing.assert_array_equal(model.run({"x": x.numpy()})["output"], [[14, 26]] * 3)


def test_constant_arguments_are_part_of_the_graph(tmp_path):
    """Numbers and None in the example are fixed by the export and asked of no caller."""

    class Scaled(nn.Module):
        def forward(self, x: torch.Tensor, mask: None, factor: int) -> torch.Tensor:
            return x * factor

    packed = pack_module(Scaled(), None, (torch.ones(2), None, 4), None, None, None, tmp_path)
    assert [spec.name for spec in packed.inputs] == ["x"]


def test_what_torch_cannot_export_is_told_in_torchs_words(tmp_path):
    """Python that depends on values cannot become a graph."""

    class Dynamic(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2 if x.sum() > 0 else x

    with pytest.raises(InvalidInput, match=r"torch\.export refuses the module"):
        pack_module(Dynamic(), None, (torch.ones(2),), None, None, None, tmp_path)


def test_a_module_that_gives_another_answer_each_time_is_refused(tmp_path):
    """The packed model must answer the example as the module does."""

    class Noisy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.rand(2)

    with pytest.raises(InvalidInput, match="does not return what the module returns"):
        pack_module(Noisy(), None, (torch.ones(2),), None, None, None, tmp_path)


def test_a_pt2_that_changes_its_own_state_is_refused(tmp_path):
    """A running count in a buffer would be shared by all requests."""

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return x + self.calls

    with pytest.raises(Corrupt, match="that keeps state"):
        pack_pt2(save(Counting(), tmp_path / "m.pt2"), tmp_path / "out")


def test_a_file_that_is_no_pt2_is_refused(tmp_path):
    """A state dict saved with torch.save is a zip too, but holds no exported program."""
    path = tmp_path / "weights.pt"
    torch.save(Mlp().state_dict(), path)
    with pytest.raises(Corrupt, match=r"\.pt2"):
        pack_pt2(path, tmp_path / "out")
