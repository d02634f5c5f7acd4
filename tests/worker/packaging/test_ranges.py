"""What push learns of the values that an input may have: what is certain, and no more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from shared.manifest import TensorSpec
from worker.packaging.architecture import pack_architecture
from worker.packaging.module import pack_module
from worker.packaging.onnx import pack_onnx
from worker.packaging.program import pack_pt2
from worker.packaging.whole_file import pack_torchscript, pack_whole_pt2

ROWS, COLUMNS = 10, 4
Range = tuple[int | None, int | None]
OPEN: Range = (None, None)


class Table(nn.Module):
    """A model that looks up what `use` makes of its input."""

    def __init__(self, use: Callable[[Table, Tensor], Tensor]) -> None:
        super().__init__()
        self.table = nn.Embedding(ROWS, COLUMNS)
        self.other = nn.Embedding(3, COLUMNS)
        self.use = use

    def forward(self, ids: Tensor) -> Tensor:
        return self.use(self, ids)


def without_grad(model: Table, ids: Tensor) -> Tensor:
    with torch.no_grad():
        return model.table(ids) + 1


def in_a_branch(model: Table, ids: Tensor) -> Tensor:
    return torch.cond(ids.sum() > 0, lambda x: model.table(x), lambda x: model.table(x * 0), (ids,))


USES: dict[str, tuple[Callable[[Table, Tensor], Tensor], Range]] = {
    "embedding": (lambda m, i: m.table(i), (0, 9)),
    "two of different sizes": (lambda m, i: m.table(i) + m.other(i), (0, 2)),
    "reshaped and copied": (lambda m, i: m.table(i.unsqueeze(0).clone().view(-1)), (0, 9)),
    "cast": (lambda m, i: m.table(i.int()), (0, 9)),
    "without grad": (without_grad, (0, 9)),
    "index": (lambda m, i: m.table.weight[i], (-10, 9)),
    "second index": (lambda m, i: m.table.weight[:, i], (-4, 3)),
    "index_select": (lambda m, i: m.table.weight.index_select(1, i), (0, 3)),
    "take": (lambda m, i: torch.take(m.table.weight, i), (-40, 39)),
    "one_hot": (lambda m, i: nn.functional.one_hot(i, 5).float(), (0, 4)),
    "gather": (lambda m, i: m.table.weight.gather(0, i.unsqueeze(1)), (0, 9)),
    "clamped": (lambda m, i: m.table(i.clamp(0, 9)), OPEN),
    "shifted": (lambda m, i: m.table(i + 1), OPEN),
    "masked": (lambda m, i: m.table(torch.where(i < 0, 0, i)), OPEN),
    "a part": (lambda m, i: m.table(i[:1]), OPEN),
    "by way of a narrow type": (lambda m, i: m.table(i.to(torch.int8).long()), OPEN),
    "by way of floats": (lambda m, i: m.table(i.float().long()), OPEN),
    "in a branch": (in_a_branch, OPEN),
    "no index": (lambda m, i: m.table.weight.sum() * i, OPEN),
}


def limits(spec: TensorSpec) -> Range:
    return spec.minimum, spec.maximum


@pytest.mark.parametrize("name", USES)
def test_a_program_s_range_is_what_its_tables_allow(name: str, tmp_path: Path) -> None:
    """In both formats. The model takes every value that the range allows, and none beyond it."""
    use, want = USES[name]
    module = Table(use).eval()
    ids = torch.tensor([1, 0, 2])
    packed = pack_module(module, None, (ids,), None, None, None, tmp_path / "packed")
    assert limits(packed.inputs[0]) == want
    archive = tmp_path / "model.pt2"
    torch.export.save(torch.export.export(module, (ids,)), archive)
    assert limits(pack_whole_pt2(archive).inputs[0]) == want
    if want != OPEN:
        for value in want:
            module(torch.full((3,), value))
        for value in (want[0] - 1, want[1] + 1):
            with pytest.raises((IndexError, RuntimeError)):
                module(torch.full((3,), value))


def test_a_name_of_the_publisher_keeps_the_range(tmp_path: Path) -> None:
    """Alone, or with datatype and shape beside it."""
    archive = tmp_path / "model.pt2"
    exported = torch.export.export(Table(USES["embedding"][0]).eval(), (torch.tensor([1, 2, 3]),))
    torch.export.save(exported, archive)
    for said in ("ids", TensorSpec("ids", "INT64", [3])):
        packed = pack_pt2(archive, tmp_path / f"out-{said}"[:12], input_names=[said])
        assert limits(packed.inputs[0]) == (0, 9)


def test_an_architecture_knows_its_vocabulary(tmp_path: Path) -> None:
    """By its sizes."""
    from worker.runtimes.architectures import architecture

    kind = architecture("bert_encoder")
    sizes = {"vocab_size": 50, "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1,
             "intermediate_size": 8}  # fmt: skip
    weights = kind.build(kind.config(**sizes)).state_dict()
    packed = pack_architecture("bert_encoder", sizes, weights, tmp_path)
    assert [limits(spec) for spec in packed.inputs] == [(0, 49), OPEN]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("make", [torch.jit.script, lambda m: torch.jit.trace(m, IDS)])
def test_a_torchscript_s_range_is_its_embedding_s(make: Any, tmp_path: Path) -> None:
    """Scripted or traced; what it computes with is left open."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(ROWS, COLUMNS)

        def forward(self, ids: Tensor, other: Tensor) -> Tensor:
            return self.table(ids.unsqueeze(0)) + self.table(other + 1)

    path = tmp_path / "model.pt"
    make(Two().eval()).save(str(path))
    specs = [TensorSpec(name, "INT64", [3]) for name in ("ids", "other")]
    packed = pack_torchscript(path, specs, [TensorSpec("y", "FP32", [1, 3, COLUMNS])])
    assert [limits(spec) for spec in packed.inputs] == [(0, 9), OPEN]


IDS = (torch.tensor([1, 2, 3]), torch.tensor([1, 2, 3]))


def gather(path: Path, nodes: list[onnx.NodeProto], kind: int = TensorProto.INT64) -> TensorSpec:
    """The input of a model of these nodes, from `ids` to `y`, over a table of 10 rows."""
    table = numpy_helper.from_array(np.zeros((ROWS, COLUMNS), np.float32), "table")
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("ids", kind, [3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a", "b"])],
        [table, numpy_helper.from_array(np.array([1], np.int64), "one")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)
    return pack_onnx(path).inputs[0]


GATHER = helper.make_node("Gather", ["table", "i"], ["y"])
ONNX: dict[str, tuple[list[onnx.NodeProto], Range]] = {
    "identity": ([helper.make_node("Identity", ["ids"], ["i"]), GATHER], (-10, 9)),
    "cast": ([helper.make_node("Cast", ["ids"], ["i"], to=TensorProto.INT32), GATHER], (-10, 9)),
    "columns": (
        [helper.make_node("Gather", ["table", "ids"], ["y"], axis=1)], (-4, 3)
    ),
    "a cast table": (
        [helper.make_node("Cast", ["table"], ["t"], to=TensorProto.FLOAT),
         helper.make_node("Gather", ["t", "ids"], ["y"])], (-10, 9)
    ),
    "shifted": ([helper.make_node("Add", ["ids", "one"], ["i"]), GATHER], OPEN),
    "narrow": (
        [helper.make_node("Cast", ["ids"], ["j"], to=TensorProto.INT8),
         helper.make_node("Cast", ["j"], ["i"], to=TensorProto.INT64), GATHER], OPEN
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ONNX)
def test_an_onnx_model_s_range_is_its_table_s(name: str, tmp_path: Path) -> None:
    """Negative indices count from the end there."""
    nodes, want = ONNX[name]
    assert limits(gather(tmp_path / "model.onnx", nodes)) == want
