"""The range of an argument of a TorchScript that indexes an embedding, from the embedding's rows.

Only what is certain: an index that reaches `aten::embedding` unchanged, outside of branches and
loops.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

_SAME = frozenset(
    f"aten::{name}"
    for name in (
        "alias", "clone", "contiguous", "detach", "expand", "flatten", "permute", "reshape",
        "squeeze", "t", "transpose", "unsqueeze", "view",
    )
)  # fmt: skip
_WIDE = ("Int", "Long")  # what a cast may make of it


def index_ranges(module: Any) -> dict[int, tuple[int, int]]:
    """Least and greatest value by number of the argument of forward(), from 0 on."""
    graph = module.inlined_graph
    arguments = {value.debugName(): n for n, value in enumerate(list(graph.inputs())[1:])}
    found: dict[int, tuple[int, int]] = {}
    for node in graph.nodes():
        if node.kind() != "aten::embedding":
            continue
        weight, index = list(node.inputs())[:2]
        argument, rows = arguments.get(_source(index).debugName()), _rows(module, weight)
        if argument is not None and rows:
            most = min(rows - 1, found.get(argument, (0, rows - 1))[1])
            found[argument] = (0, most)
    return found


def _source(value: Any) -> Any:
    """The value from which `value` was copied or reshaped."""
    while True:
        node = value.node()
        cast = node.kind() == "aten::to" and value.type().scalarType() in _WIDE
        if not cast and node.kind() not in _SAME:
            return value
        value = next(iter(node.inputs()))


def _rows(module: Any, value: Any) -> int:
    """The rows of the weight that `value` is, 0 if it is not one of the module's."""
    path: list[str] = []
    node = value.node()
    while node.kind() == "prim::GetAttr":
        path.append(node.s("name"))
        node = next(iter(node.inputs())).node()
    found = module
    for name in reversed(path):
        found = getattr(found, name, None)
    return int(found.shape[0]) if isinstance(found, Tensor) and found.ndim == 2 else 0
