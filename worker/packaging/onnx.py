"""Packing an ONNX model: the file, the files with its weights, and what it takes and gives.

Names, types and shapes are the file's own. What the publisher says as well is compared with them,
and fills in what the file leaves open: a rank that is nowhere, a size that varies. Naming outputs
chooses among them, naming inputs among those that have a default.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from shared.errors import InvalidInput
from shared.manifest import TensorSpec
from worker.packaging import onnx_external, onnx_file
from worker.packaging.result import Packed
from worker.runtimes import onnx_session
from worker.runtimes.onnxruntime_onnx import MODEL_FILE

MOST_INPUTS = 256  # a manifest's own limit

Given = Mapping[str, TensorSpec | None]
"""Names on the command line, and what is said of them beside the name."""


def pack_onnx(path: Path, inputs: Given | None = None, outputs: Given | None = None) -> Packed:
    """An ONNX model as it is, with its external data. LoadFailed or Corrupt if it is none,
    InvalidInput for what cannot be served and for what is given and is not so."""
    about = onnx_file.read(path)
    files = onnx_external.find(path, about.external, MODEL_FILE)
    session = onnx_session.open_session(path, to_look=True)
    return Packed(
        "onnxruntime_onnx",
        {MODEL_FILE: path, **files},
        _inputs(session, inputs or {}, about.unranked),
        _outputs(session, outputs or {}, about.unranked),
    )


def _inputs(session: Any, given: Given, unranked: frozenset[str]) -> list[TensorSpec]:
    needed, defaults = session.get_inputs(), session.get_overridable_initializers()
    _refuse_unknown("input", given, [*needed, *defaults])
    if not needed and not defaults:
        raise InvalidInput("it takes no input, so there is nothing to ask it")
    if given:
        defaults = [node for node in defaults if node.name in given]
    elif len(needed) + len(defaults) > MOST_INPUTS:
        defaults = []  # an export that lists its weights as inputs: only those that are named
    return [
        *(_spec("input", node, given, unranked) for node in needed),
        *(_spec("input", node, given, unranked, optional=True) for node in defaults),
    ]


def _outputs(session: Any, given: Given, unranked: frozenset[str]) -> list[TensorSpec]:
    nodes = session.get_outputs()
    _refuse_unknown("output", given, nodes)
    chosen = [node for node in nodes if node.name in given] if given else nodes
    _refuse_unsendable(chosen, nodes)
    return [_spec("output", node, given, unranked) for node in chosen]


def _refuse_unknown(kind: str, given: Given, nodes: Iterable[Any]) -> None:
    known = [node.name for node in nodes]
    for name in given:
        if name not in known:
            raise InvalidInput(f"--{kind} {name!r}: the file has no such {kind}, it has {known}")


def _refuse_unsendable(chosen: Iterable[Any], nodes: Iterable[Any]) -> None:
    for node in chosen:
        if node.type in onnx_session.TYPES:
            continue
        ways = []
        if "map(" in node.type:
            ways.append('convert it with options={"zipmap": False}')
        if others := [f"--output {n.name}" for n in nodes if n.type in onnx_session.TYPES]:
            ways.append(f"choose among the others with {' '.join(others)}")
        way = ": " + ", or ".join(ways) if ways else ""
        raise InvalidInput(f"output {node.name!r} is {node.type}, which cannot be served{way}")


def _spec(
    kind: str, node: Any, given: Given, unranked: frozenset[str], *, optional: bool = False
) -> TensorSpec:
    if node.type not in onnx_session.TYPES:
        raise InvalidInput(f"{kind} {node.name!r} is {node.type}, which cannot be served")
    datatype, said = onnx_session.TYPES[node.type], given.get(node.name)
    shape = [size if isinstance(size, int) and size >= 0 else -1 for size in node.shape]
    if node.name in unranked and not shape:
        shape = _told_rank(kind, node.name, datatype, said)
    if said is None:
        return TensorSpec(node.name, datatype, shape, optional)
    if said.datatype != datatype or not _narrows(said.shape, shape):
        raise InvalidInput(
            f"--{kind} {node.name!r}: you say {said.datatype} {list(said.shape)}, "
            f"the file has {datatype} {shape}"
        )
    return TensorSpec(node.name, datatype, list(said.shape), optional)


def _told_rank(kind: str, name: str, datatype: str, said: TensorSpec | None) -> list[int]:
    if said is None:
        raise InvalidInput(
            f"{kind} {name!r}: the file does not say how many dimensions it has: give "
            f"--{kind} {name}:{datatype}:DIM,DIM,..., with -1 for one that varies"
        )
    return list(said.shape)


def _narrows(said: list[int], shape: list[int]) -> bool:
    """Whether all that `said` allows is allowed by `shape`."""
    return len(said) == len(shape) and all(
        have in (-1, want) for want, have in zip(said, shape, strict=True)
    )
