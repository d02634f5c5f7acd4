"""Request bodies of the Open Inference Protocol: a JSON header, then each tensor's raw bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from warmroute import datatypes
from warmroute.casting import to_tensor
from warmroute.errors import InvalidInput
from warmroute.framing import join_bytes

HEADER_LENGTH = "Inference-Header-Content-Length"
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encode(
    inputs: Mapping[str, Any],
    *,
    outputs: Iterable[str] | None = None,
    parameters: Mapping[str, str | int | float | bool] | None = None,
    required: Mapping[str, str] | None = None,
) -> tuple[bytes, int]:
    """An inference request as `(body, length of its JSON header)`.

    Args:
        inputs: the tensors by name, each of anything that `infer` accepts.
        outputs: the names of the outputs to return; None returns all.
        parameters: the request's own `parameters`.
        required: the datatype of each input; one that is not named keeps its own.

    Raises:
        InvalidInput: a value cannot be sent as it is given.
    """
    described: list[dict[str, Any]] = []
    parts: list[bytes | memoryview] = []
    for name, value in inputs.items():
        datatype, shape, raw = _raw_tensor(name, value, (required or {}).get(name))
        size = {"binary_data_size": memoryview(raw).nbytes}
        described.append({"name": name, "datatype": datatype, "shape": shape, "parameters": size})
        parts.append(raw)
    header: dict[str, Any] = {
        "inputs": described,
        "parameters": {**(parameters or {}), "binary_data_output": True},
    }
    if outputs is not None:
        header["outputs"] = [{"name": name} for name in outputs]
    encoded = to_json(header, "outputs or parameters")
    return b"".join([encoded, *parts]), len(encoded)


def encode_tensor(
    name: str, value: Any, required: str | None = None
) -> tuple[str, list[int], bytes]:
    """One tensor as `(datatype, shape, little-endian row-major bytes)`; errors as `encode`."""
    datatype, shape, raw = _raw_tensor(name, value, required)
    return datatype, shape, bytes(raw)


def to_json(document: object, what: str) -> bytes:
    """A document as JSON in UTF-8; InvalidInput, naming `what`, if it has no JSON form."""
    try:
        return _ENCODER.encode(document).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{what}: {error}") from error


def _raw_tensor(
    name: str, value: Any, required: str | None
) -> tuple[str, list[int], bytes | memoryview]:
    """The data as bytes, or as a view of a contiguous array, which is joined without a copy."""
    tensor = to_tensor(name, value, required)
    shape = list(tensor.array.shape)
    if tensor.datatype == datatypes.BYTES:
        return tensor.datatype, shape, join_bytes(name, tensor.array)
    return tensor.datatype, shape, np.ascontiguousarray(tensor.array).data
