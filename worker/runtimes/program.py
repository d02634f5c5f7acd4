"""An exported graph, loaded once per device and shared by all its fine-tunes.

Weights are arguments of the graph, so attaching a variant creates a list of views and changes
nothing that a running call uses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from shared.errors import Corrupt
from shared.manifest import Manifest, TensorSpec
from worker.runtimes import canonical, dtypes
from worker.runtimes.program_graph import GraphBuilder
from worker.runtimes.program_schema import InputSpec, Program, TensorMeta
from worker.runtimes.shape_rules import ShapeRules, sizes
from worker.runtimes.torch_model import Forward

# Measured: heap of a loaded program per byte of its JSON.
HEAP_PER_PROGRAM_BYTE = 7


class Slot(NamedTuple):
    """A weight that the graph takes: its value in the graph, and its name among the weights."""

    value: str
    weight: str


class LoadedProgram:
    """A graph on a device. `sha256` and `size` are those of its JSON. Never changed once made."""

    def __init__(self, program: Program, device: torch.device, sha256: str, size: int) -> None:
        self.sha256 = sha256
        inputs, self.slots = split_inputs(program)
        graph = program.graph_module.graph
        self._metas = graph.tensor_values
        self._rules = ShapeRules(program, inputs)
        self.shapes_near = self._rules.nearest
        weights = [slot.value for slot in self.slots]
        builder = GraphBuilder(graph, device, fixed=weights)
        self._call: Callable[..., Any] = builder.build([*weights, *inputs]).forward
        self._written = [
            position for position, name in enumerate(inputs) if name in builder.written
        ]
        self.names = inputs
        self.inputs = [self._metas[name] for name in inputs]
        self.heap_bytes = size * HEAP_PER_PROGRAM_BYTE

    def bind(self, tensors: Mapping[str, Tensor]) -> Forward:
        """The graph with these weights; Corrupt if one is missing or of another type or shape."""
        weights = [fit(slot.weight, self._metas[slot.value], tensors) for slot in self.slots]

        def forward(given: Sequence[Tensor]) -> Any:
            self._rules.check(tuple(tuple(tensor.shape) for tensor in given))
            given = list(given)
            for position in self._written:
                # After a failure the same arrays may be used again: they must not have changed.
                given[position] = given[position].clone()
            return self._call(*weights, *given)

        return forward

    def check_manifest(self, manifest: Manifest) -> list[TensorSpec]:
        """The manifest's inputs in the order of the program's: by name where the names are the
        program's, else by position (nested values, and versions that older releases published).
        Corrupt if a name belongs to another input, or number, type or rank differ."""
        specs = list(manifest.inputs)
        if len(specs) != len(self.names):
            raise Corrupt(f"manifest: {len(specs)} inputs, the program takes {len(self.names)}")
        named = {spec.name: spec for spec in specs}
        if named.keys() == set(self.names):
            specs = [named[name] for name in self.names]
        for spec, name, meta in zip(specs, self.names, self.inputs, strict=True):
            if spec.name != name and name in named:
                raise Corrupt(
                    f"manifest: input {name!r} is in the place of another input of the program"
                )
            if not _same_kind(spec, meta):
                raise Corrupt(
                    f"manifest: input {spec.name!r} is {spec.datatype} {list(spec.shape)}, the "
                    f"program takes {dtypes.v2_name(dtypes.EXPORT[meta.dtype])} {sizes(meta)}"
                )
        return specs


def split_inputs(program: Program) -> tuple[list[str], list[Slot]]:
    """The graph's inputs that a request gives, and those that are weights; Corrupt for any other
    kind. Arguments that were constants in the export are already part of the graph."""
    inputs: list[str] = []
    slots: list[Slot] = []
    for spec in program.graph_module.signature.input_specs:
        if spec.user_input is not None and "as_tensor" in spec.user_input.arg:
            inputs.append(str(spec.user_input.arg["as_tensor"]["name"]))
        elif (slot := _slot(spec)) is not None:
            slots.append(slot)
        elif spec.constant_input is None:
            raise Corrupt("program: an input is neither a tensor nor a constant")
    known = program.graph_module.graph.tensor_values
    for name in (*inputs, *(slot.value for slot in slots)):
        if name not in known or known[name].dtype not in dtypes.EXPORT:
            raise Corrupt(f"program: input {name[:80]!r} has no type")
    if any(spec.user_output is None for spec in program.graph_module.signature.output_specs):
        raise Corrupt(
            "program: it keeps state, which is not supported: pass the state in and out instead"
        )
    return inputs, slots


def fit(name: str, meta: TensorMeta, tensors: Mapping[str, Tensor]) -> Tensor:
    """The weight `name` in the layout of the graph; Corrupt if it is missing or of another kind."""
    if name not in tensors:
        raise Corrupt(f"weights: tensor {name!r} is missing")
    stored, dtype = tensors[name], dtypes.EXPORT[meta.dtype]
    strides = [int(stride.get("as_int", 0)) for stride in meta.strides]
    fitted = canonical.from_stored(stored, sizes(meta), strides)
    if fitted is None or stored.dtype != dtype:
        raise Corrupt(
            f"weights: tensor {name!r} is {stored.dtype} {list(stored.shape)}, the program needs "
            f"{dtype} {sizes(meta)}"
        )
    return fitted


def _slot(spec: InputSpec) -> Slot | None:
    if spec.parameter is not None:
        return Slot(spec.parameter.arg.name, spec.parameter.parameter_name)
    if spec.buffer is not None:
        return Slot(spec.buffer.arg.name, spec.buffer.buffer_name)
    if spec.tensor_constant is not None:
        return Slot(spec.tensor_constant.arg.name, spec.tensor_constant.tensor_constant_name)
    return None


def _same_kind(spec: TensorSpec, meta: TensorMeta) -> bool:
    return len(spec.shape) == len(meta.sizes) and (
        dtypes.V2.get(spec.datatype) == dtypes.EXPORT[meta.dtype]
    )
