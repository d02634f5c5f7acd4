"""The range of an input of an ONNX model that indexes a table of the model, from the table's size.

Only what is certain: an index that reaches a Gather unchanged, in a node that every run computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SAME = frozenset({"Identity", "Unsqueeze", "Squeeze", "Reshape", "Flatten", "Transpose", "Expand"})
_TABLE = frozenset({"Cast", "Identity", "DequantizeLinear"})
_WIDE = (6, 7)  # int32 and int64: narrower ones wrap around

Range = tuple[int, int]


def index_ranges(graph: Any) -> dict[str, Range]:
    """Least and greatest value by input of the graph. Negative indices count from the end."""
    tables = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    came_from = {one.name: one.name for one in graph.input if one.name not in tables}
    found: dict[str, Range] = {}
    for node in graph.node:
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            dims = [list(a.t.dims) for a in node.attribute if a.name == "value"]
            tables |= dict(zip(node.output, dims, strict=False))
        elif not node.input or node.domain not in ("", "ai.onnx"):
            continue
        elif node.op_type == "Gather":
            _gathered(node, tables, came_from, found)
        elif node.input[0] in tables and node.op_type in _TABLE:
            tables[node.output[0]] = tables[node.input[0]]
        elif node.input[0] in came_from and _keeps_values(node):
            came_from[node.output[0]] = came_from[node.input[0]]
    return {name: limits for name, limits in found.items() if limits[0] <= limits[1]}


def _gathered(
    node: Any, tables: Mapping[str, list[int]], came_from: Mapping[str, str],
    found: dict[str, Range],
) -> None:  # fmt: skip
    table, index = tables.get(node.input[0]), came_from.get(node.input[1])
    axis = _attribute(node, "axis", 0)
    if table is None or index is None or not -len(table) <= axis < len(table):
        return
    rows = table[axis]
    least, most = found.get(index, (-rows, rows - 1))
    found[index] = max(least, -rows), min(most, rows - 1)


def _keeps_values(node: Any) -> bool:
    return node.op_type in _SAME or (node.op_type == "Cast" and _attribute(node, "to", 0) in _WIDE)


def _attribute(node: Any, name: str, default: int) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), default)
