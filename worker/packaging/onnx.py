"""Packing an ONNX model: the file, the files with its weights, and its inputs and outputs.

Names, types and shapes are the file's own. What the publisher describes is compared with them, and
fills in what the file leaves open: a rank that is missing, a size that varies. Naming outputs
selects some of them, naming inputs selects among those that have a default.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import structs

from shared import datatypes
from shared.errors import InvalidInput
from shared.manifest import TensorSpec
from worker.packaging import onnx_file
from worker.packaging.result import Packed
from worker.runtimes import onnx_session
from worker.runtimes.naming import Described, name_of
from worker.runtimes.onnxruntime_onnx import MODEL_FILE

MAX_INPUTS = 256  # a manifest's own limit

Given = Mapping[str, TensorSpec | None]
"""Names on the command line, and the datatype and shape that are given with them."""


def pack_file(
    file: Path, scratch: Path, inputs: Sequence[Described], outputs: Sequence[Described]
) -> Packed:
    """`pack_onnx`, as the table of platforms calls a packer."""
    return pack_onnx(file, _by_name(inputs), _by_name(outputs))


def _by_name(described: Sequence[Described]) -> dict[str, TensorSpec | None]:
    found: dict[str, TensorSpec | None] = {}
    for one in described:
        if name_of(one) in found:
            raise InvalidInput(f"{name_of(one)!r} is given twice")
        found[name_of(one)] = None if isinstance(one, str) else one
    return found


def pack_onnx(path: Path, inputs: Given | None = None, outputs: Given | None = None) -> Packed:
    """Pack an ONNX model as it is, with its external data. LoadFailed or Corrupt if it is not one,
    InvalidInput for what cannot be served, and for a description that does not match the file."""
    about = onnx_file.read(path)
    files = onnx_file.find(path, about.external, MODEL_FILE)
    session = onnx_session.open_session(path, inspect_only=True)
    return Packed(
        "onnxruntime_onnx",
        {MODEL_FILE: path, **files},
        [
            _limited(spec, about.ranges.get(spec.name))
            for spec in _inputs(session, inputs or {}, about.unranked)
        ],
        _outputs(session, outputs or {}, about.unranked),
    )


def _limited(spec: TensorSpec, found: tuple[int, int] | None) -> TensorSpec:
    if found is None or spec.datatype not in datatypes.INTEGERS:
        return spec
    return structs.replace(spec, minimum=found[0], maximum=found[1])


def _inputs(session: Any, given: Given, unranked: frozenset[str]) -> list[TensorSpec]:
    needed, defaults = session.get_inputs(), session.get_overridable_initializers()
    _refuse_unknown("input", given, [*needed, *defaults])
    if not needed and not defaults:
        raise InvalidInput("the model takes no input, so no request can be made of it")
    if given:
        defaults = [node for node in defaults if node.name in given]
    elif len(needed) + len(defaults) > MAX_INPUTS:
        defaults = []  # weights listed as inputs: only the named ones are offered
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
        if node.type in datatypes.ONNX:
            continue
        ways = []
        if "map(" in node.type:
            ways.append('convert it with options={"zipmap": False}')
        if others := [f"--output {n.name}" for n in nodes if n.type in datatypes.ONNX]:
            ways.append(f"choose among the others with {' '.join(others)}")
        way = ": " + ", or ".join(ways) if ways else ""
        raise InvalidInput(f"output {node.name!r} is {node.type}, which cannot be served{way}")


def _spec(
    kind: str, node: Any, given: Given, unranked: frozenset[str], *, optional: bool = False
) -> TensorSpec:
    if node.type not in datatypes.ONNX:
        raise InvalidInput(f"{kind} {node.name!r} is {node.type}, which cannot be served")
    datatype, given_spec = datatypes.ONNX[node.type], given.get(node.name)
    shape = [size if isinstance(size, int) and size >= 0 else -1 for size in node.shape]
    if node.name in unranked and not shape:
        shape = _given_rank(kind, node.name, datatype, given_spec)
    if given_spec is None:
        return TensorSpec(node.name, datatype, shape, optional)
    if given_spec.datatype != datatype or not _narrows(given_spec.shape, shape):
        raise InvalidInput(
            f"--{kind} {node.name!r} is given as {given_spec.datatype} {list(given_spec.shape)}, "
            f"the file has {datatype} {shape}"
        )
    return TensorSpec(node.name, datatype, list(given_spec.shape), optional)


def _given_rank(kind: str, name: str, datatype: str, given_spec: TensorSpec | None) -> list[int]:
    if given_spec is None:
        raise InvalidInput(
            f"{kind} {name!r}: the file does not give its number of dimensions: give "
            f"--{kind} {name}:{datatype}:DIM,DIM,..., with -1 for one that varies"
        )
    return list(given_spec.shape)


def _narrows(given: list[int], shape: list[int]) -> bool:
    """Whether every shape that `given` allows is allowed by `shape`."""
    return len(given) == len(shape) and all(
        have in (-1, want) for want, have in zip(given, shape, strict=True)
    )
