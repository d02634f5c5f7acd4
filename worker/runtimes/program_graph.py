"""From a program's JSON to a callable, through torch.fx.

torch's own loader evaluates strings of the file (sympy's `sympify` is `eval`), imports modules it
names, looks operators up by attribute access from `torch`, and puts names from the file into
generated source. Here nothing of the file is evaluated: operators are matched against fixed forms,
values get names of our own, and what is not known is refused. It is also some 40 times faster (10
against 450 ms for a 6-layer BERT) because no symbolic shapes are rebuilt.

A program stays "code" all the same: its operators are native kernels that were never meant for
hostile arguments, and it may use any amount of time and memory. This is hardening, not a sandbox.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import torch
from torch import fx

from shared.errors import Corrupt, LoadFailed
from worker.runtimes import operators
from worker.runtimes.program_args import Arguments
from worker.runtimes.program_schema import Graph, Node

MAX_NODES = 200_000
POSITIONAL = 1
_SINGLE_VALUES = ("as_tensor", "as_sym_int", "as_sym_float", "as_sym_bool")


class GraphBuilder:
    """Builds one graph. `fixed`: the inputs that no call may write to; other inputs that a call
    writes to are recorded in `written`."""

    def __init__(self, graph: Graph, device: torch.device, fixed: Iterable[str]) -> None:
        if len(graph.nodes) > MAX_NODES:
            raise Corrupt(f"program: {len(graph.nodes)} calls, over the limit of {MAX_NODES}")
        self.written: set[str] = set()
        self._source = graph
        self._device = device
        self._fixed = frozenset(fixed)
        self._graph = fx.Graph()
        self._root = torch.nn.Module()
        self._values: dict[str, fx.Node] = {}
        self._views: dict[fx.Node, frozenset[str]] = {}  # inputs that a value may be a view of
        self._arguments = Arguments(self._values, device, self._subgraph)

    def build(self, inputs: Sequence[str]) -> fx.GraphModule:
        """The callable: takes `inputs` by position, returns what the graph returns."""
        for number, name in enumerate(inputs):
            node = self._graph.placeholder(f"input_{number}")
            self._bind(name, node)
            self._views[node] = frozenset({name})
        for call in self._source.nodes:
            self._call(call)
        outputs = [self._arguments.decode(output) for output in self._source.outputs]
        single = self._source.is_single_tensor_return and len(outputs) == 1
        self._graph.output(outputs[0] if single else tuple(outputs))
        return fx.GraphModule(self._root, self._graph)

    def _call(self, call: Node) -> None:
        op = operators.find(call.target)
        self._check_device(call.target)
        given = [(item.name, self._arguments.decode(item.arg), item.kind) for item in call.inputs]
        named = {name: value for name, value, _ in given}
        self._check_inference(call.target, named)
        self._check_writes(call.target, op, named)
        args = tuple(value for name, value, kind in given if kind == POSITIONAL or not name)
        if call.target == operators.AUTOCAST and args[:1] == ("cpu",):
            # Of the device that it was exported on; elsewhere such a region has no effect.
            args = (self._device.type, *args[1:])
        kwargs = {name: value for name, value, kind in given if kind != POSITIONAL and name}
        node = self._graph.call_function(op, args, kwargs)
        # A region may return its arguments.
        viewed = named.keys() if call.target in operators.REGIONS else operators.viewed(op)
        self._views[node] = self._seen_through(value for name, value, _ in given if name in viewed)
        self._bind_results(call, node)

    def _bind_results(self, call: Node, node: fx.Node) -> None:
        outputs = call.outputs
        if len(outputs) == 1 and next(iter(outputs[0])) in _SINGLE_VALUES:
            in_tuple = call.target in operators.REGIONS and not call.is_hop_single_tensor_return
            self._bind_output(outputs[0], self._item(node, 0) if in_tuple else node)
        elif len(outputs) == 1 and "as_tensors" in outputs[0]:
            for number, item in enumerate(outputs[0]["as_tensors"]):
                self._bind(_name_of(item), self._item(node, number))
        else:
            for number, output in enumerate(outputs):
                if "as_none" not in output:
                    self._bind_output(output, self._item(node, number))

    def _bind_output(self, output: Mapping[str, Any], node: fx.Node) -> None:
        ((kind, value),) = output.items()
        if kind == "as_tensors":
            for number, item in enumerate(value):
                self._bind(_name_of(item), self._item(node, number))
        elif kind in _SINGLE_VALUES:
            self._bind(_name_of(value), node)
        else:
            raise Corrupt(f"program: a result of kind {kind[:40]!r} is not supported")

    def _bind(self, name: str, node: fx.Node) -> None:
        if name in self._values:
            raise Corrupt(f"program: value {name[:80]!r} is computed twice")
        self._values[name] = node

    def _item(self, node: fx.Node, number: int) -> fx.Node:
        item = self._graph.call_function(operator.getitem, (node, number))
        self._views[item] = self._views[node]
        return item

    def _subgraph(self, argument: Mapping[str, Any]) -> fx.Node:
        graph = msgspec.convert(argument["graph"], Graph)
        names = [_name_of(next(iter(item.values()))) for item in graph.inputs]
        # Its arguments may be weights, so it may not write to them.
        module = GraphBuilder(graph, self._device, fixed=names).build(names)
        attribute = f"region_{len(list(self._root.children()))}"
        self._root.add_module(attribute, module)
        node = self._graph.get_attr(attribute)
        self._views[node] = frozenset()
        return node

    def _seen_through(self, values: Iterable[Any]) -> frozenset[str]:
        return frozenset().union(*(self._views[node] for value in values for node in _nodes(value)))

    def _check_writes(self, target: str, op: Callable[..., Any], named: dict[str, Any]) -> None:
        touched = self._seen_through(named[name] for name in operators.written(op) if name in named)
        if broken := sorted(touched & self._fixed):
            raise Corrupt(
                f"program: {target} writes to {broken[0][:80]!r}, which requests share: a model "
                "that keeps state cannot be served: pass the state in and out instead"
            )
        self.written |= touched

    def _check_device(self, target: str) -> None:
        if self._device.type != "cpu" and operators.only_on_cpus(target):
            raise LoadFailed(
                f"program: {target} exists on CPUs only: export the model without "
                "run_decompositions(), or run a worker with WARMROUTE_DEVICE=cpu for it"
            )

    @staticmethod
    def _check_inference(target: str, named: dict[str, Any]) -> None:
        # Normalisation without running statistics uses the batch's own in inference, too.
        stateless = "running_mean" in named and named["running_mean"] is None
        if not stateless and (named.get("train") is True or named.get("training") is True):
            raise Corrupt(f"program: {target} is in training mode: call eval() before the export")


def _nodes(value: Any) -> list[fx.Node]:
    if isinstance(value, fx.Node):
        return [value]
    if isinstance(value, list):
        return [node for item in value for node in _nodes(item)]
    return []


def _name_of(item: Mapping[str, Any]) -> str:
    """The name in `{"name": n}` of a tensor, or in `{"as_name": n}` of a computed number."""
    name = item.get("name", item.get("as_name"))
    if not isinstance(name, str):
        raise Corrupt("program: a value has no name")
    return name
