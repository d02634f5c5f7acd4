"""Notes to the publisher of a model that is bound to the kind of device it was made on.

The model is served where it can run, so this is not a reason to refuse it: but a publisher learns
here, and not from a worker's first load, that GPUs will refuse it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from worker.runtimes import operators
from worker.runtimes.program_schema import Graph, Program

_SHOWN = 4  # operators named in one note


def notes_on_devices(program: Program) -> list[str]:
    """A note on operators of a program that exist on CPUs only."""
    targets = dict.fromkeys(_targets(program.graph_module.graph))
    bound = [target for target in targets if operators.only_on_cpus(target)]
    if not bound:
        return []
    more = f" and {len(bound) - _SHOWN} more" if len(bound) > _SHOWN else ""
    return [
        f"it can be served on CPUs only, since GPUs lack {', '.join(bound[:_SHOWN])}{more}: export "
        "it without run_decompositions() if GPUs are to serve it"
    ]


def notes_on_script(module: Any) -> list[str]:
    """A note on devices that a TorchScript names itself: its weights move to a GPU, what it makes
    there by name does not."""
    named = sorted(set(_devices(module.inlined_graph)))
    if not named:
        return []
    return [
        f"it makes tensors on {', '.join(map(repr, named))} by name, as tracing leaves it: on "
        "another device it fails; use the device of an input, and torch.jit.script or torch.export"
    ]


def _targets(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        yield node.target
        for item in node.inputs:
            if "as_graph" in item.arg:
                yield from _targets(msgspec.convert(item.arg["as_graph"]["graph"], Graph))


def _devices(graph: Any) -> Iterator[str]:
    for node in graph.findAllNodes("prim::Constant", True):
        if node.output().type().kind() == "DeviceObjType" and node.hasAttribute("value"):
            yield str(node.s("value"))
