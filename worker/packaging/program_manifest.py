"""The inputs and outputs of a program, as its manifest describes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from msgspec import structs

from shared import datatypes
from shared.errors import Corrupt
from shared.manifest import TensorSpec
from worker.packaging.result import Packed as Packed
from worker.runtimes import dtypes
from worker.runtimes.index_ranges import Range, index_ranges
from worker.runtimes.naming import Described, ModelTensor, match
from worker.runtimes.program import split_inputs
from worker.runtimes.program_schema import Program, TensorMeta
from worker.runtimes.program_tree import Path as TreePath
from worker.runtimes.program_tree import Trees, dotted, user_inputs
from worker.runtimes.shape_rules import sizes


def describe(
    program: Program,
    trees: Trees,
    inputs: Sequence[Described] | None = None,
    outputs: Sequence[Described] | None = None,
) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Inputs and outputs of a program, -1 where a size varies, under the given names or its own:
    those of forward()'s arguments and of the keys that it returns, `output` or `output_0` and so on
    where it returns no keys. Corrupt if an output is not a tensor, InvalidInput as `match`."""
    return (
        match("inputs", inputs or [], _own_inputs(program, trees)),
        match("outputs", outputs or [], _own_outputs(program, trees)),
    )


def match_packed(
    packed: Packed, inputs: Sequence[Described], outputs: Sequence[Described]
) -> Packed:
    """`packed` with its tensors under the given names; InvalidInput as `match`."""
    return replace(
        packed,
        inputs=match("inputs", inputs, [ModelTensor(spec) for spec in packed.inputs]),
        outputs=match("outputs", outputs, [ModelTensor(spec) for spec in packed.outputs]),
    )


def _own_inputs(program: Program, trees: Trees) -> list[ModelTensor]:
    values = program.graph_module.graph.tensor_values
    known = user_inputs(program)
    paths = (
        trees.inputs if trees.inputs and len(trees.inputs) == len(known) else [None] * len(known)
    )
    names = {name: path for name, path in zip(known, paths, strict=True) if name is not None}
    placeholders, _ = split_inputs(program)
    found = [_own_input(values[name], name, names.get(name)) for name in placeholders]
    if len({own.spec.name for own in found}) < len(found):
        found = [_own_input(values[name], name, None) for name in placeholders]
    ranges = index_ranges(program.graph_module.graph, {name: name for name in placeholders})
    return [
        replace(own, spec=_limited(own.spec, ranges.get(name)))
        for own, name in zip(found, placeholders, strict=True)
    ]


def _limited(spec: TensorSpec, found: Range | None) -> TensorSpec:
    if found is None or spec.datatype not in datatypes.INTEGERS:
        return spec
    return structs.replace(spec, minimum=found.minimum, maximum=found.maximum)


def _own_input(meta: TensorMeta, placeholder: str, path: TreePath | None) -> ModelTensor:
    """An argument under its name; a nested value under the graph's name (`d_a`), or its path."""
    if path is not None and len(path) == 1:
        return ModelTensor(_spec(str(path[0]), meta), also=placeholder)
    return ModelTensor(_spec(placeholder, meta), also=dotted(path) if path else "")


def _own_outputs(program: Program, trees: Trees) -> list[ModelTensor]:
    graph = program.graph_module.graph
    given = list(enumerate(graph.outputs))
    known = trees.outputs
    paths = known if known is not None and len(known) == len(given) else [()] * len(given)
    tensors = [(number, output) for number, output in given if "as_none" not in output]
    if not tensors:
        raise Corrupt("program: it returns no tensor")
    plain = ["output"] if len(tensors) == 1 else [f"output_{n}" for n in range(len(tensors))]
    return [
        _own_output(graph.tensor_values[_value(number, output)], paths[number], name)
        for (number, output), name in zip(tensors, plain, strict=True)
    ]


def _own_output(meta: TensorMeta, path: TreePath, plain: str) -> ModelTensor:
    named = any(isinstance(key, str) for key in path)
    return ModelTensor(_spec(dotted(path) if named else plain, meta), named=named)


def _value(number: int, output: dict[str, dict[str, str]]) -> str:
    if "as_tensor" not in output:
        raise Corrupt(f"program: output {number} is not a tensor")
    return output["as_tensor"]["name"]


def _spec(name: str, meta: TensorMeta) -> TensorSpec:
    return TensorSpec(name, dtypes.v2_name(dtypes.EXPORT[meta.dtype]), sizes(meta))
