"""numpy arrays to and from the binary tensor layout of the Open Inference Protocol.

A body is a JSON header followed by the raw bytes of each tensor in the order listed, little-endian
and row-major; each BYTES element is a uint32 LE length and its bytes. Outputs that the server sent
as JSON are read as well. Refuses object arrays that hold anything but bytes or str: no pickling.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from shared import datatypes

Array = npt.NDArray[Any]
TensorLike = npt.ArrayLike
_LENGTH = struct.Struct("<I")


def encode(
    inputs: Mapping[str, TensorLike],
    *,
    outputs: Iterable[str] | None = None,
    parameters: Mapping[str, str | int | float | bool] | None = None,
) -> tuple[bytes, int]:
    """An inference request as `(body, length of its JSON header)`; TypeError for a non-tensor."""
    described, blobs = [], []
    for name, value in inputs.items():
        datatype, shape, raw = encode_tensor(name, value)
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
    encoded = msgspec.json.encode(header)
    return b"".join([encoded, *blobs]), len(encoded)


def encode_tensor(name: str, value: TensorLike) -> tuple[str, list[int], bytes]:
    """One array as `(datatype, shape, little-endian row-major bytes)`."""
    array = np.asarray(value)
    shape = list(array.shape)
    if array.dtype.kind in "OSU":
        return datatypes.BYTES, shape, _join_bytes(name, array)
    if array.dtype.name == "bfloat16":  # of ml_dtypes; numpy has none of its own
        return "BF16", shape, array.view(np.uint16).astype("<u2").tobytes()
    try:
        datatype = datatypes.from_numpy(array.dtype)
    except KeyError:
        raise TypeError(f"input {name!r}: numpy dtype {array.dtype} is no V2 datatype") from None
    return datatype, shape, array.astype(datatypes.NUMPY[datatype], copy=False).tobytes()


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
    for item in array.reshape(-1).tolist():
        raw = item.encode() if isinstance(item, str) else item
        if not isinstance(raw, bytes):
            raise TypeError(f"input {name!r}: a BYTES element is a {type(raw).__name__}")
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
