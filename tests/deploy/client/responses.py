"""A valid V2 inference response, to be broken by tests."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from warmroute.encoding import HEADER_LENGTH, encode_tensor
from warmroute.response import Response

ARRAYS = {
    "floats": np.float32([[1, 2, 3], [4, 5, 6]]),
    "words": np.array([b"", b"a\0", b"longer"], object),
    "flags": np.array([True, False]),
    "bits": np.uint16([0x3FC0]),
    "none": np.zeros((0, 3), np.int64),
}
Head = dict[str, Any]


def parts() -> tuple[Head, bytes]:
    """Header and binary tensors of a valid response, one output a BF16 tensor."""
    outputs, blobs = [], []
    for name, array in ARRAYS.items():
        datatype, shape, raw = encode_tensor(name, array)
        datatype = "BF16" if name == "bits" else datatype
        size = {"binary_data_size": len(raw)}
        outputs.append({"name": name, "datatype": datatype, "shape": shape, "parameters": size})
        blobs.append(raw)
    return {"model_name": "m", "model_version": "1", "outputs": outputs}, b"".join(blobs)


def response(head: Head | bytes, blobs: bytes, length: str | None = None) -> Response:
    raw = head if isinstance(head, bytes) else json.dumps(head).encode()
    return Response(200, {HEADER_LENGTH: length or str(len(raw))}, raw + blobs)


def valid() -> Response:
    return response(*parts())
