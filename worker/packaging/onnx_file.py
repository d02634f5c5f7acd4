"""The parts of an ONNX file that an open session does not show: where its weights lie, and which
tensors have no rank. For packing; the weights themselves are never read."""

from __future__ import annotations

import mmap
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import Corrupt, InvalidInput
from shared.manifest import is_file_name
from worker.packaging import file_stubs
from worker.packaging.onnx_ranges import index_ranges

MAX_BYTES = (1 << 31) - 1  # protobuf's own limit
SMALL = 1024  # elements of a tensor that may be a shape, which inferring ranks has to know


@dataclass(frozen=True)
class OnnxFile:
    """`external`: for each location that the file names, the bytes that it must have. `unranked`:
    inputs and outputs of the graph whose number of dimensions is not known. `ranges`: the least and
    the greatest value of inputs that are indices."""

    external: dict[str, int]
    unranked: frozenset[str]
    ranges: dict[str, tuple[int, int]]


def read(path: Path) -> OnnxFile:
    """Read the file without its external data. Corrupt if it is not an ONNX model, InvalidInput
    if its description of external data makes no sense, or if it is too large."""
    model = _parse(path)
    external: dict[str, int] = {}
    for tensor in _tensors(model.graph):
        _note(tensor, external)
    for function in model.functions:
        for tensor in _of_nodes(function.node):
            _note(tensor, external)
    return OnnxFile(external, _unranked(model), index_ranges(model.graph))


def _parse(path: Path) -> Any:
    import onnx  # no part of loading
    from google.protobuf.message import DecodeError

    model, size = onnx.ModelProto(), path.stat().st_size
    if size > MAX_BYTES:
        raise InvalidInput(
            f"{path.name}: {size} bytes, an ONNX file has at most {MAX_BYTES}: save it with "
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
        raise Corrupt(f"{path.name}: it is not an ONNX model, or it is cut off") from error
    if not model.HasField("graph"):
        raise Corrupt(f"{path.name}: it is not an ONNX model: it contains no graph")
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
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    try:
        start, length = int(entries.get("offset") or 0), int(entries.get("length") or 0)
    except ValueError:
        start = length = -1
    if not location or start < 0 or length < 0:
        raise InvalidInput(
            f"tensor {tensor.name[:80]!r}: its external data has no valid location: {entries}"
        )
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
    """The outputs with the shapes that ONNX infers; none if that fails. Empties the weights of
    `model`, of which only the shapes are needed."""
    from onnx import shape_inference

    for tensor in model.graph.initializer:
        if len(tensor.raw_data) > 8 * SMALL:
            tensor.ClearField("raw_data")
    try:
        return list(shape_inference.infer_shapes(model, data_prop=True).graph.output)
    except (shape_inference.InferenceError, RuntimeError, ValueError):
        return []


MAX_FILES = 4000  # a manifest takes 4096
SAVE_AGAIN = "save the model again with its weights in one file beside it, or inside it"


def find(model: Path, external: Mapping[str, int], own_name: str) -> dict[str, Path]:
    """Local paths by name for the locations of `external`, which gives the bytes needed of each.
    InvalidInput for a file that is missing, cut off, or not below the model's folder; `own_name` is
    the name of the model itself in its version."""
    if len(external) > MAX_FILES:
        raise InvalidInput(
            f"{model.name}: weights in {len(external)} files, at most {MAX_FILES}: {SAVE_AGAIN}"
        )
    found: dict[str, Path] = {}
    for location, size in external.items():
        what = f"{model.name}: its external data {location[:200]!r}"
        name = _name(location, what)
        path = model.parent / name
        if name == own_name or path == model:
            raise InvalidInput(f"{what} has the name of the model itself: {SAVE_AGAIN}")
        _check_there(path, model, what)
        _check_content(path, size, what)
        found[name] = path
    return found


def _name(location: str, what: str) -> str:
    if location.startswith("/") or location[1:3] in (":/", ":\\"):
        raise InvalidInput(
            f"{what} has an absolute path, it must lie in the model's folder: {SAVE_AGAIN}"
        )
    if ".." in location.split("/"):
        raise InvalidInput(f"{what} lies outside the model's folder: {SAVE_AGAIN}")
    name = posixpath.normpath(location)
    if not is_file_name(name):
        raise InvalidInput(f"{what}: the name is not allowed for a file of a version: {SAVE_AGAIN}")
    return name


def _check_there(path: Path, model: Path, what: str) -> None:
    """A link may lead to the real folder of the model, as it does in a cache of downloads."""
    if not path.exists():
        kind = "is a link to nothing" if path.is_symlink() else "is missing"
        raise InvalidInput(f"{what} {kind}: it must lie beside the model, in {model.parent}")
    real = path.resolve()
    if not any(
        real.is_relative_to(home) for home in (model.parent.resolve(), model.resolve().parent)
    ):
        raise InvalidInput(f"{what} is a link to a place outside the model's folder: {SAVE_AGAIN}")
    if not path.is_file():
        raise InvalidInput(f"{what} is not a file")


def _check_content(path: Path, size: int, what: str) -> None:
    if stub := file_stubs.stub_of(path):
        raise InvalidInput(f"{what} is {stub}")
    held = path.stat().st_size
    if held < size:
        raise InvalidInput(f"{what} holds {held} bytes of {size}: it is cut off, copy it again")
