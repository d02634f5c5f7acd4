"""The published form of a program: torch.export's JSON reduced to what running it needs.

Nothing of the exporting machine or of its example inputs is left, so that two fine-tunes of one
architecture give the same bytes, hence one hash, one file and one program in memory.
"""

from __future__ import annotations

from typing import Any

import msgspec

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
