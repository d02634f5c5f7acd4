"""The form in which programs and weights are published, the same for the same model.

A program is torch.export's JSON reduced to what running it needs. Nothing of the exporting machine
or of its example inputs is left, so that two fine-tunes of one architecture give the same bytes,
hence one hash, one file and one program in memory.

A safetensors file is row-major, a weight need not be. A weight in another order (channels_last
convolutions, transposed matrices) is stored with its dimensions in the order that they have in
memory, and viewed through `permute` when it is attached. So kernels take the same path as at the
publisher's, and nothing is copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from torch import Tensor

from worker.runtimes.program_schema import Graph, Node, Program, TensorMeta


def encode(program: Program) -> bytes:
    """The canonical bytes of a program. Its own graph keeps the types of inputs and outputs."""
    module = program.graph_module
    reduced = msgspec.structs.replace(
        program,
        graph_module=msgspec.structs.replace(module, graph=_reduce(module.graph)),
    )
    return msgspec.json.encode(reduced, order="deterministic")


def _reduce(graph: Graph) -> Graph:
    ends = {
        arg["as_tensor"]["name"] for arg in (*graph.inputs, *graph.outputs) if "as_tensor" in arg
    }
    values = {name: _plain(meta) for name, meta in graph.tensor_values.items() if name in ends}
    nodes = [_reduce_node(node) for node in graph.nodes]
    return msgspec.structs.replace(graph, nodes=nodes, tensor_values=values)


def _reduce_node(node: Node) -> Node:
    if not any("as_graph" in given.arg for given in node.inputs):
        return node
    inputs = [
        msgspec.structs.replace(given, arg=_reduce_argument(given.arg)) for given in node.inputs
    ]
    return msgspec.structs.replace(node, inputs=inputs)


def _reduce_argument(arg: dict[str, Any]) -> dict[str, Any]:
    if "as_graph" not in arg:
        return arg
    graph = _reduce(msgspec.convert(arg["as_graph"]["graph"], Graph))
    return {"as_graph": {"name": arg["as_graph"]["name"], "graph": msgspec.to_builtins(graph)}}


def _plain(meta: TensorMeta) -> TensorMeta:
    sizes, strides = map(_without_hints, (meta.sizes, meta.strides))
    return TensorMeta(meta.dtype, sizes, strides)


def _without_hints(dimensions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"as_expr": {"expr_str": dimension["as_expr"]["expr_str"]}}
        if "as_expr" in dimension
        else dimension
        for dimension in dimensions
    ]


def memory_order(shape: Sequence[int], strides: Sequence[int]) -> list[int]:
    """Dimensions from the slowest to the fastest in memory; the given order if the tensor is not
    dense (expanded or cut out), which is then stored row by row.
    """
    order = sorted(range(len(shape)), key=lambda axis: (-strides[axis], axis))
    expected = 1
    for axis in reversed(order):
        if shape[axis] != 1 and strides[axis] != expected:
            return list(range(len(shape)))
        expected *= shape[axis]
    return order


def to_stored(tensor: Tensor, strides: Sequence[int]) -> Tensor:
    """The row-major tensor to store for `tensor`, which a program knows with `strides`."""
    return tensor.permute(memory_order(tensor.shape, strides)).contiguous()


def from_stored(stored: Tensor, shape: Sequence[int], strides: Sequence[int]) -> Tensor | None:
    """The view of `stored` that a program knows with `shape` and `strides`; None if it has another
    shape."""
    order = memory_order(shape, strides)
    if list(stored.shape) != [shape[axis] for axis in order]:
        return None
    inverse = sorted(range(len(order)), key=order.__getitem__)
    return stored.permute(inverse)
