"""The range of an input that a program uses as an index, from the sizes of what it is an index of.

Only what is certain: an index that reaches a table unchanged, in a call that every run makes. On
its way it may be reshaped, copied or cast to another integer. What was computed from it, clamped or
masked is another value, and its range is not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
import torch

from worker.runtimes.dtypes import EXPORT
from worker.runtimes.program_schema import Graph, Node
from worker.runtimes.shape_rules import sizes

# Calls whose result holds the values of their first argument, all of them or a part. A part proves
# nothing of the rest, so a slice is none of these.
_SAME = frozenset(
    f"torch.ops.aten.{name}"
    for name in (
        "_reshape_copy.default", "_to_copy.default", "_unsafe_view.default", "alias.default",
        "clone.default", "contiguous.default", "detach.default", "detach_.default",
        "expand.default", "flatten.using_ints", "lift_fresh_copy.default", "permute.default",
        "reshape.default", "squeeze.default", "squeeze.dim", "squeeze.dims", "t.default",
        "to.dtype", "to.dtype_layout", "to.device", "transpose.int", "unflatten.int",
        "unsqueeze.default", "view.default",
    )
)  # fmt: skip
_REGIONS = frozenset(
    f"torch.ops.higher_order.{name}"
    for name in ("wrap_with_autocast", "wrap_with_set_grad_enabled")
)


# Narrower ones wrap around, uint8 and bool choose by a mask, and floats round.
_INDEX_TYPES = (torch.int32, torch.int64)


class Indexed(NamedTuple):
    """A use as an index: of the argument called `table` (along `dim`), by the one called `by`.
    `wraps`: negative ones count from the end."""

    table: str
    by: str
    dim: str = ""  # the argument with the dimension; '' for the first
    wraps: bool = False


_TABLES = {
    "torch.ops.aten.embedding.default": Indexed("weight", "indices"),
    "torch.ops.aten.index_select.default": Indexed("self", "index", "dim"),
    "torch.ops.aten.gather.default": Indexed("self", "index", "dim"),
    "torch.ops.aten.take.default": Indexed("self", "index", wraps=True),
    "torch.ops.aten.index.Tensor": Indexed("self", "indices", wraps=True),
    "torch.ops.aten.one_hot.default": Indexed("", "self"),
}


class Range(NamedTuple):
    """The least and the greatest value, both allowed."""

    minimum: int
    maximum: int


def index_ranges(graph: Graph, inputs: Mapping[str, str]) -> dict[str, Range]:
    """The range of each input that is used as an index, as far as it is known. `inputs`: values of
    the graph by the names that they are asked for under; the same, at the top."""
    came_from = {value: name for name, value in inputs.items()}
    found: dict[str, Range] = {}
    for name, given in _uses(graph, came_from):
        before = found.get(name, given)
        found[name] = Range(max(before.minimum, given.minimum), min(before.maximum, given.maximum))
    return {name: given for name, given in found.items() if given.minimum <= given.maximum}


def _uses(graph: Graph, came_from: dict[str, str]) -> Iterator[tuple[str, Range]]:
    for node in graph.nodes:
        given = {item.name: item.arg for item in node.inputs}
        if node.target in _SAME and _is_index(graph, _result(node)):
            source = _value(node.inputs[0].arg) if node.inputs else ""
            if source in came_from:
                came_from[_result(node)] = came_from[source]
        elif node.target in _REGIONS:
            yield from _within(node, came_from)
        elif node.target in _TABLES:
            yield from _indexed(graph, _TABLES[node.target], given, came_from)


def _within(node: Node, came_from: Mapping[str, str]) -> Iterator[tuple[str, Range]]:
    """Uses in a region that always runs: its arguments follow its graph."""
    arguments = [item.arg for item in node.inputs]
    at = next((n for n, arg in enumerate(arguments) if "as_graph" in arg), len(arguments))
    if at == len(arguments):
        return
    inner = msgspec.convert(arguments[at]["as_graph"]["graph"], Graph)
    pairs = zip(inner.inputs, arguments[at + 1 :], strict=False)
    named = {_value(own): came_from.get(_value(given), "") for own, given in pairs}
    yield from _uses(inner, {value: name for value, name in named.items() if value and name})


def _indexed(
    graph: Graph, kind: Indexed, given: Mapping[str, Any], came_from: Mapping[str, str]
) -> Iterator[tuple[str, Range]]:
    index = given.get(kind.by, {})
    for axis, value in enumerate(_values(index)):
        if value not in came_from or not _is_index(graph, value):
            continue
        rows = _rows(graph, kind, given, axis)
        if rows > 0:
            yield came_from[value], Range(-rows if kind.wraps else 0, rows - 1)


def _rows(graph: Graph, kind: Indexed, given: Mapping[str, Any], axis: int) -> int:
    """The number of allowed indices; 0 if that is not fixed."""
    if not kind.table:  # the number of classes; -1 has the greatest index decide
        return int(given.get("num_classes", {}).get("as_int", 0))
    meta = graph.tensor_values.get(_value(given.get(kind.table, {})))
    if meta is None:
        return 0
    shape = sizes(meta)
    if kind.dim:
        axis = int(given.get(kind.dim, {}).get("as_int", 0))
    if kind.by == "index" and not kind.dim:  # of the flattened tensor
        return _product(shape)
    return shape[axis] if -len(shape) <= axis < len(shape) else 0


def _product(shape: list[int]) -> int:
    total = 1
    for size in shape:
        total *= max(size, 0)
    return total


def _is_index(graph: Graph, value: str) -> bool:
    """Whether a value is of a type that is used as an index as it is."""
    meta = graph.tensor_values.get(value)
    return meta is not None and EXPORT.get(meta.dtype) in _INDEX_TYPES


def _result(node: Node) -> str:
    """The name of a call's only result, '' if it has others."""
    return _value(node.outputs[0]) if len(node.outputs) == 1 else ""


def _value(argument: Mapping[str, Any]) -> str:
    """The name of the tensor that an argument is, '' for any other argument."""
    tensor = argument.get("as_tensor")
    return str(tensor["name"]) if isinstance(tensor, dict) else ""


def _values(argument: Mapping[str, Any]) -> list[str]:
    """The names of the tensors of an argument, '' for one that is left out."""
    if "as_tensors" in argument:
        return [str(item["name"]) for item in argument["as_tensors"]]
    if "as_optional_tensors" in argument:
        return [_value(item) for item in argument["as_optional_tensors"]]
    return [_value(argument)]
