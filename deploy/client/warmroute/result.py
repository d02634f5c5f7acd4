"""Inference responses of the Open Inference Protocol (V2), checked completely, as a `Result`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from warmroute import datatypes
from warmroute.encoding import HEADER_LENGTH
from warmroute.errors import BadResponse
from warmroute.framing import Array, from_binary, from_json
from warmroute.response import (
    Document,
    Response,
    as_object,
    as_objects,
    needed,
    optional_text,
    parse_json,
    shown,
    text,
)

MAX_DIMENSIONS = 32
MAX_DIMENSION = 1 << 62


@dataclass(frozen=True)
class Result(Mapping[str, Array]):
    """The outputs of one inference by name: `result["output"]`, or the dict `result.outputs`.

    Each output is a numpy array of the model's shape that the caller may change, so
    `torch.from_numpy(result["output"])` works without a copy. Its dtype is that of the datatype
    (`float32` for FP32), with two exceptions: BF16 is `float32`, which holds every BF16 value
    exactly, and BYTES is `object` with elements of type `bytes`.

    Attributes:
        model: the model's name.
        version: the version that ran, as text.
        request_id: the id of the request in the server's log.
        worker: the worker that ran it; None if the server did not say.
        cold: whether the request waited for its model to be loaded; None if unknown.
        parameters: the `parameters` of the response.
    """

    outputs: dict[str, Array]
    model: str
    version: str | None = None
    request_id: str | None = None
    worker: str | None = None
    cold: bool | None = None
    parameters: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Array:
        return self.outputs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.outputs)

    def __len__(self) -> int:
        return len(self.outputs)


def read_result(response: Response, asked: Iterable[str] | None = None) -> Result:
    """An inference response, JSON or binary, as a Result.

    Raises:
        BadResponse: it is not a complete V2 inference response, or lacks an output of `asked`.
    """
    header, blobs = split_body(response)
    head, outputs = decode(header, blobs)
    for name in asked or ():
        if name not in outputs:
            raise BadResponse("outputs", f"{name!r} is missing", "every output that was asked for")
    cold = response.headers.get("Warmroute-Cold")
    return Result(
        outputs=outputs,
        model=text(head, "model_name"),
        version=optional_text(head, "model_version"),
        request_id=response.headers.get("Warmroute-Request-Id") or optional_text(head, "id"),
        worker=response.headers.get("Warmroute-Worker") or None,
        cold=None if cold is None else cold == "true",
        parameters=_parameters(head, ""),
    )


def split_body(response: Response) -> tuple[memoryview, memoryview]:
    """The JSON header and the binary tensors; all is header where its length is not given."""
    body, length = memoryview(response.body), response.headers.get(HEADER_LENGTH)
    if length is None:
        return body, body[:0]
    digits = length if length.isascii() and length.isdigit() and len(length) < 19 else "-1"
    if not 0 < int(digits) <= len(body):
        raise BadResponse(f"{HEADER_LENGTH} header", shown(length), f"1 to {len(body)} bytes")
    return body[: int(digits)], body[int(digits) :]


def decode(
    header: bytes | memoryview, blobs: bytes | memoryview
) -> tuple[Document, dict[str, Array]]:
    """A response as `(its JSON header, outputs by name)`; BadResponse names the wrong field."""
    head = as_object(parse_json(header, "header"), "header")
    described = as_objects(needed(head, "outputs", "a list of objects"), "outputs")
    if not described:
        raise BadResponse("outputs", "empty", "at least one output")
    outputs: dict[str, Array] = {}
    view, at = memoryview(blobs), 0
    for index, tensor in enumerate(described):
        where = f"outputs[{index}]."
        name = text(tensor, "name", where)
        if name in outputs:
            raise BadResponse(where + "name", f"{name!r} is there twice", "different names")
        size = _binary_size(tensor, where)
        outputs[name] = _output(tensor, None if size is None else view[at : at + size], size, where)
        at += size or 0
    if at != len(view):
        raise BadResponse("body", f"{len(view) - at} bytes that belong to no output", f"{at} bytes")
    return head, outputs


def _output(tensor: Document, raw: memoryview | None, size: int | None, where: str) -> Array:
    datatype, shape = text(tensor, "datatype", where), _shape(tensor, where)
    if datatype not in datatypes.ALL:
        raise BadResponse(where + "datatype", shown(datatype), "a datatype of V2")
    if raw is None:
        data = needed(tensor, "data", "data, or parameters.binary_data_size", where)
        return from_json(datatype, shape, data, where + "data")
    if len(raw) != size:
        raise BadResponse("body", f"{len(raw)} of {size} bytes of {where[:-1]} arrived", "all")
    return from_binary(datatype, shape, raw, where + "data")


def _shape(tensor: Document, where: str) -> list[int]:
    shape = needed(tensor, "shape", "a list of whole numbers", where)
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS:
        raise BadResponse(where + "shape", shown(shape), f"a list of at most {MAX_DIMENSIONS}")
    if not all(type(size) is int and 0 <= size <= MAX_DIMENSION for size in shape):
        raise BadResponse(where + "shape", shown(shape), "whole numbers from 0")
    return shape


def _binary_size(tensor: Document, where: str) -> int | None:
    size = _parameters(tensor, where).get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0:
        field_name = where + "parameters.binary_data_size"
        raise BadResponse(field_name, shown(size), "a whole number from 0")
    if "data" in tensor:
        raise BadResponse(where + "data", "JSON data beside binary data", "one of them")
    return size


def _parameters(fields: Document, where: str) -> Document:
    given = fields.get("parameters")
    return {} if given is None else as_object(given, where + "parameters")
