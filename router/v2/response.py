"""Render an outcome as a V2 response: JSON, or JSON with binary tensors after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from router.v2 import tensors
from shared.envelope import Outcome, Tensor
from shared.names import ModelRef

HEADER_LENGTH = "Inference-Header-Content-Length"


def document(
    outcome: Outcome, ref: ModelRef, binary: Mapping[str, bool], default: bool
) -> tuple[dict[str, Any], list[bytes | memoryview]]:
    """The JSON part and the binary tensors that follow it, in order."""
    blobs: list[bytes | memoryview] = []
    rows = []
    for tensor in outcome.outputs:
        as_binary = binary.get(tensor.name, default)
        rows.append(_row(tensor, as_binary))
        if as_binary:
            blobs.append(tensor.data)
    return {**head_of(outcome, ref), "outputs": rows}, blobs


def head_of(outcome: Outcome, ref: ModelRef) -> dict[str, Any]:
    """The members before `outputs`."""
    head: dict[str, Any] = {"model_name": ref.name, "model_version": str(ref.version)}
    if outcome.id:
        head["id"] = outcome.id
    return head


def render(
    outcome: Outcome, ref: ModelRef, binary: Mapping[str, bool], default: bool
) -> tuple[bytes, dict[str, str]]:
    """Body and headers of the response."""
    head, blobs = document(outcome, ref, binary, default)
    raw = msgspec.json.encode(head)
    if not blobs:
        return raw, {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(raw))}
    return b"".join([raw, *blobs]), headers


def _row(tensor: Tensor, as_binary: bool) -> dict[str, Any]:
    row = row_of(tensor, as_binary)
    if not as_binary:
        row["data"] = tensors.to_json(tensor.data, tensor.datatype, f"outputs[{tensor.name!r}]")
    return row


def row_of(tensor: Tensor, as_binary: bool) -> dict[str, Any]:
    """One of the outputs, without `data`."""
    row: dict[str, Any] = {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": tensor.shape,
    }
    if as_binary:
        row["parameters"] = {"binary_data_size": len(tensor.data)}
    return row
