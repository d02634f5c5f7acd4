"""What an ONNX file says of itself that an open session does not: where its weights lie, and which
tensors have no rank. For packing; the weights themselves are never read."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import Corrupt, InvalidInput

MOST_BYTES = (1 << 31) - 1  # protobuf's own limit
SMALL = 1024  # elements of a tensor that may be a shape, which inferring ranks has to know


@dataclass(frozen=True)
class OnnxFile:
    """`external`: for each location that the file names, the bytes that must be there. `unranked`:
    inputs and outputs of the graph whose number of dimensions is nowhere to be known."""

    external: dict[str, int]
    unranked: frozenset[str]


def read(path: Path) -> OnnxFile:
    """Read the file without its external data. Corrupt if it is no ONNX model, InvalidInput if what
    it says of its external data is no sense, or it is too large."""
    model = _parse(path)
    external: dict[str, int] = {}
    for tensor in _tensors(model.graph):
        _note(tensor, external)
    for function in model.functions:
        for tensor in _of_nodes(function.node):
            _note(tensor, external)
    return OnnxFile(external, _unranked(model))


def _parse(path: Path) -> Any:
    import onnx  # no part of loading
    from google.protobuf.message import DecodeError

    model, size = onnx.ModelProto(), path.stat().st_size
    if size > MOST_BYTES:
        raise InvalidInput(
            f"{path.name}: {size} bytes, and no ONNX file can be over {MOST_BYTES}: save it with "
            "its weights as external data"
        )
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            memoryview(mapped) as raw,
        ):
            model.ParseFromString(raw)
    except (DecodeError, ValueError) as error:
        raise Corrupt(f"{path.name}: it is no ONNX model, or one that is cut off") from error
    if not model.HasField("graph"):
        raise Corrupt(f"{path.name}: it is no ONNX model: there is no graph in it")
    return model


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    """Tensors in the attributes of `nodes`, and in the graphs there: branches and loop bodies."""
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for graph in (attribute.g, *attribute.graphs):
                yield from _tensors(graph)


def _note(tensor: Any, external: dict[str, int]) -> None:
    if tensor.data_location != tensor.EXTERNAL:
        return
    told = {entry.key: entry.value for entry in tensor.external_data}
    location = told.get("location", "")
    try:
        start, length = int(told.get("offset") or 0), int(told.get("length") or 0)
    except ValueError:
        start = length = -1
    if not location or start < 0 or length < 0:
        raise InvalidInput(f"tensor {tensor.name[:80]!r}: its external data is nowhere: {told}")
    external[location] = max(external.get(location, 0), start + length)


def _unranked(model: Any) -> frozenset[str]:
    ends = [*model.graph.input, *model.graph.output]
    unknown = {end.name for end in ends if _has_no_rank(end)}
    if not unknown:
        return frozenset()
    return frozenset(unknown - {end.name for end in _inferred(model) if not _has_no_rank(end)})


def _has_no_rank(end: Any) -> bool:
    kind = end.type
    return kind.WhichOneof("value") == "tensor_type" and not kind.tensor_type.HasField("shape")


def _inferred(model: Any) -> list[Any]:
    """The outputs as ONNX's own shape inference knows them; none if it fails. Empties the weights
    of `model`, of which it wants the shapes only."""
    from onnx import shape_inference

    for tensor in model.graph.initializer:
        if len(tensor.raw_data) > 8 * SMALL:
            tensor.ClearField("raw_data")
    try:
        return list(shape_inference.infer_shapes(model, data_prop=True).graph.output)
    except (shape_inference.InferenceError, RuntimeError, ValueError):
        return []
