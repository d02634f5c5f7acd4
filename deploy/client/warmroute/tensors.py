"""numpy arrays to and from the binary tensor layout of the Open Inference Protocol.

A body is a JSON header followed by the raw bytes of each tensor in the order listed, little-endian
and row-major; each BYTES element is a uint32 LE length and its bytes. Outputs that the server sent
as JSON are read as well. No pickling.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from warmroute import datatypes
from warmroute.casting import take
from warmroute.errors import InvalidInput
from warmroute.exact import Array

__all__ = ["Array", "TensorLike", "decode", "encode", "encode_tensor", "from_binary", "from_json"]
TensorLike = npt.ArrayLike
LONGEST = (1 << 32) - 1
_LENGTH = struct.Struct("<I")


def encode(
    inputs: Mapping[str, TensorLike],
    *,
    outputs: Iterable[str] | None = None,
    parameters: Mapping[str, str | int | float | bool] | None = None,
    wanted: Mapping[str, str] | None = None,
) -> tuple[bytes, int]:
    """An inference request as `(body, length of its JSON header)`. `wanted` are the datatypes of
    its inputs; InvalidInput for what is no tensor, or would have to be changed."""
    described, blobs = [], []
    for name, value in inputs.items():
        datatype, shape, raw = encode_tensor(name, value, (wanted or {}).get(name))
        described.append(
            {
                "name": name,
                "datatype": datatype,
                "shape": shape,
                "parameters": {"binary_data_size": len(raw)},
            }
        )
        blobs.append(raw)
    header: dict[str, Any] = {
        "inputs": described,
        "parameters": {**(parameters or {}), "binary_data_output": True},
    }
    if outputs is not None:
        header["outputs"] = [{"name": name} for name in outputs]
    try:
        encoded = msgspec.json.encode(header)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"outputs or parameters: {error}") from error
    return b"".join([encoded, *blobs]), len(encoded)


def encode_tensor(
    name: str, value: TensorLike, wanted: str | None = None
) -> tuple[str, list[int], bytes]:
    """One tensor as `(datatype, shape, little-endian row-major bytes)`; see `casting.py`."""
    taken = take(name, value, wanted)
    array = taken.array
    if taken.datatype == datatypes.BYTES:
        return datatypes.BYTES, list(array.shape), _join_bytes(name, array)
    return taken.datatype, list(array.shape), array.tobytes()


def decode(header: bytes, blobs: bytes) -> tuple[dict[str, Any], dict[str, Array]]:
    """A response as `(its JSON, outputs by name)`; ValueError where sizes do not add up."""
    response: dict[str, Any] = msgspec.json.decode(header)
    outputs: dict[str, Array] = {}
    at = 0
    for tensor in response.get("outputs", []):
        size = tensor.get("parameters", {}).get("binary_data_size")
        if size is None:
            outputs[tensor["name"]] = from_json(tensor)
            continue
        raw = blobs[at : at + size]
        if len(raw) != size:
            raise ValueError(f"output {tensor['name']!r}: {len(raw)} of {size} bytes arrived")
        outputs[tensor["name"]] = from_binary(tensor["datatype"], tensor["shape"], raw)
        at += size
    if at != len(blobs):
        raise ValueError(f"the response holds {len(blobs) - at} bytes that no output claims")
    return response, outputs


def from_binary(datatype: str, shape: list[int], raw: bytes) -> Array:
    """Raw tensor bytes as an array; BF16 comes back as float32, which holds it exactly."""
    if datatype == datatypes.BYTES:
        return _object_array(_split_bytes(raw)).reshape(shape)
    array = np.frombuffer(raw, datatypes.NUMPY[datatype]).reshape(shape)
    if datatype == "BF16":
        return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return array


def from_json(tensor: Mapping[str, Any]) -> Array:
    """A tensor whose `data` is JSON numbers or strings, nested or flat."""
    if tensor["datatype"] == datatypes.BYTES:
        flat = [item.encode() for item in _flatten(tensor["data"])]
        return _object_array(flat).reshape(tensor["shape"])
    flat_numbers = np.array(tensor["data"], datatypes.NUMPY[tensor["datatype"]])
    return flat_numbers.reshape(tensor["shape"])


def _join_bytes(name: str, array: Array) -> bytes:
    parts: list[bytes] = []
    for raw in array.reshape(-1).tolist():
        if len(raw) > LONGEST:
            raise InvalidInput(f"input {name!r}: an element of {len(raw)} bytes, at most {LONGEST}")
        parts += (_LENGTH.pack(len(raw)), raw)
    return b"".join(parts)


def _split_bytes(raw: bytes) -> list[bytes]:
    items, at = [], 0
    while at < len(raw):
        (size,) = _LENGTH.unpack_from(raw, at)
        at += _LENGTH.size
        items.append(raw[at : at + size])
        at += size
    return items


def _object_array(items: list[bytes]) -> Array:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def _flatten(data: Any) -> list[Any]:
    if isinstance(data, list):
        return [leaf for part in data for leaf in _flatten(part)]
    return [data]
