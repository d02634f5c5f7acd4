"""A table: each module, in each format that takes it, answers as the module does in plain torch.

Inputs and outputs are named in the reverse of the module's order, and sizes include one row.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from shared.manifest import TensorSpec
from tests.worker.runtimes.formats import Publish
from tests.worker.runtimes.modules import CASES, Case, Scored
from worker.device.cpu import CpuDevice
from worker.packaging.example import arguments, nested
from worker.packaging.exporting import leaves_of
from worker.packaging.module import pack_module
from worker.packaging.program import pack_pt2
from worker.packaging.result import Packed
from worker.packaging.whole_file import pack_torchscript
from worker.packaging.whole_file import pack_whole_pt2 as pack_whole
from worker.runtimes import dtypes
from worker.runtimes.base import Trust, load

SIZES = (1, 2, 5)
Pack = Callable[[Case, Path], Packed]
# What a format cannot carry: TorchScript has no keyword-only tensors without a scripted schema for
# them, no dataclasses and no mixed dicts; an archive cannot hold a NamedTuple or a dataclass that
# nobody registered.
NOT_SCRIPTED = {"a dataclass", "nested"}
NOT_ARCHIVED = {"a NamedTuple", "a dataclass"}


def specs(case: Case) -> list[TensorSpec]:
    return [
        TensorSpec(name, "FP32", [-1, *array.shape[1:]]) for name, array in case.make(2).items()
    ]


def expected(case: Case, arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    with torch.inference_mode():
        answer = case.module().eval()(**nested(list(tensors.items())))
    return dict(zip(case.outputs, (leaf.detach() for _, leaf in leaves_of(answer)), strict=True))


def module(case: Case, folder: Path) -> Packed:
    said = specs(case)[::-1]
    examples = [torch.zeros(2, *spec.shape[1:]) for spec in said]
    made = case.module()
    given = arguments(made, said, examples)
    outputs = list(case.outputs[::-1]) if len(case.outputs) > 1 else []
    return pack_module(
        made, None, given.args, given.dynamic_shapes, said, outputs, folder, given.kwargs
    )


def archive(case: Case, folder: Path) -> Path:
    said = specs(case)
    made = case.module().eval()
    n = torch.export.Dim("n", min=1)
    given = arguments(made, said, [torch.ones(2, *spec.shape[1:]) for spec in said])
    shapes = torch.utils._pytree.tree_map_only(Tensor, lambda _: {0: n}, (given.args, given.kwargs))
    by_name = dict(zip(given.dynamic_shapes, [*shapes[0], *shapes[1].values()], strict=True))
    exported = torch.export.export(made, given.args, given.kwargs, dynamic_shapes=by_name)
    torch.export.save(exported, folder / "m.pt2")
    return folder / "m.pt2"


def program(case: Case, folder: Path) -> Packed:
    said, outputs = specs(case)[::-1], list(case.outputs[::-1])
    return pack_pt2(archive(case, folder), folder / "p", input_names=said, output_names=outputs)


def whole(case: Case, folder: Path) -> Packed:
    said, outputs = specs(case)[::-1], list(case.outputs[::-1])
    return pack_whole(archive(case, folder), input_names=said, output_names=outputs)


def script(case: Case, folder: Path) -> Packed:
    answer = expected(case, case.make(2))
    outputs = [
        TensorSpec(name, dtypes.v2_name(leaf.dtype), [-1] * leaf.ndim)
        for name, leaf in answer.items()
    ]
    if not {"output", "output_0"} & answer.keys():
        outputs.reverse()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(case.module().eval()).save(str(folder / "m.pt"))
    return pack_torchscript(folder / "m.pt", specs(case)[::-1], outputs)


def table() -> Iterator[object]:
    for pack, left_out in ((module, set()), (program, NOT_ARCHIVED), (whole, NOT_ARCHIVED),
                           (script, NOT_SCRIPTED)):  # fmt: skip
        for name in CASES:
            if name not in left_out:
                yield pytest.param(pack, CASES[name], id=f"{name}, {pack.__name__}")


@pytest.mark.parametrize(("pack", "case"), list(table()))
def test_a_served_module_answers_as_it_does_in_plain_torch(
    pack: Pack, case: Case, publish: Publish, device: CpuDevice, tmp_path: Path
) -> None:
    """Values, datatypes and shapes, under the module's own names, and inputs stay as they were."""
    local = publish(pack(case, tmp_path))
    model = load(local.manifest, local.files, device, Trust(code=True))
    assert {spec.name for spec in local.manifest.outputs} == set(case.outputs)
    for size in SIZES:
        arrays = case.make(size)
        before = {name: array.copy() for name, array in arrays.items()}
        got = model.run(arrays)
        for name, want in expected(case, before).items():
            assert got[name].dtype == want.numpy().dtype
            np.testing.assert_allclose(got[name], want.numpy(), rtol=1e-5, atol=1e-6)
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, before[name])


def test_a_dataclass_that_is_registered_keeps_its_fields_in_an_archive(tmp_path: Path) -> None:
    """The file holds their names, so nothing is imported to know them."""
    torch.export.register_dataclass(Scored, serialized_type_name="tests.Scored")
    packed = program(CASES["a dataclass"], tmp_path)
    assert [spec.name for spec in packed.outputs] == ["score", "shown"]


def test_a_nested_input_goes_by_the_graphs_name_too(tmp_path: Path) -> None:
    """Where nobody names it, it is called as in the graph; its path is another name of it."""
    path = archive(CASES["takes a dict"], tmp_path)
    plain = pack_whole(path)
    assert [spec.name for spec in plain.inputs] == ["d_a", "d_b", "scale"]
    named = pack_whole(path, input_names=["scale", "d_b", "d.a"])
    assert [spec.name for spec in named.inputs] == ["d.a", "d_b", "scale"]
