"""Responses that are too large to be written on the event loop (`json_processes.py` says why).

Their tensors are written as JSON a slice at a time, in other processes: 16 MiB of FP32 are 80 MiB
of JSON, and took the event loop 400 ms. The pieces are not joined, which would copy them once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from router.v2 import tensors
from router.v2.json_processes import AT_ONCE, JsonProcesses
from router.v2.response import HEADER_LENGTH, head_of, row_of
from shared import datatypes
from shared.envelope import Outcome, Tensor
from shared.names import ModelRef
from shared.shared_memory import size_of

SLICE = 1 << 20  # bytes of a tensor that are written in one go

Piece = bytes | bytearray | memoryview


def is_large(outcome: Outcome) -> bool:
    """Whether its response is to be written here."""
    return size_of(outcome) > AT_ONCE


async def render(
    outcome: Outcome, ref: ModelRef, binary: Mapping[str, bool], default: bool,
    processes: JsonProcesses,
) -> tuple[list[Piece], dict[str, str]]:  # fmt: skip
    """As `response.render`, with the body in pieces."""
    found = await document(outcome, ref, binary, default, processes)
    blobs: list[Piece] = [t.data for t in outcome.outputs if binary.get(t.name, default)]
    if not blobs:
        return found, {"Content-Type": "application/json"}
    length = str(sum(map(len, found)))
    return found + blobs, {"Content-Type": "application/octet-stream", HEADER_LENGTH: length}


async def document(
    outcome: Outcome, ref: ModelRef, binary: Mapping[str, bool], default: bool,
    processes: JsonProcesses,
) -> list[Piece]:  # fmt: skip
    """The JSON part in pieces. InvalidInput for a tensor that has no JSON form and is to be in it.
    Unavailable."""
    pieces: list[Piece] = [_begin(head_of(outcome, ref), b',"outputs":[')]
    for at, tensor in enumerate(outcome.outputs):
        if at:
            pieces.append(b",")
        as_binary = binary.get(tensor.name, default)
        row = row_of(tensor, as_binary)
        if as_binary:
            pieces.append(msgspec.json.encode(row))
        else:
            pieces += [_begin(row, b',"data":['), *await _slices(tensor, processes), b"]}"]
    return [*pieces, b"]}"]


def nested(shown: dict[str, Any], name: str, pieces: list[Piece]) -> list[Piece]:
    """The object `shown`, which is not empty, with the JSON `pieces` as its last member `name`."""
    return [_begin(shown, f',"{name}":'.encode()), *pieces, b"}"]


def _begin(row: dict[str, Any], more: bytes) -> bytes:
    """An object without its end, and what follows in it."""
    return msgspec.json.encode(row)[:-1] + more


async def _slices(tensor: Tensor, processes: JsonProcesses) -> list[Piece]:
    """The data of a tensor, without the brackets. Only a look at each element of BYTES shows where
    it ends: such a tensor is written in one go."""
    data = memoryview(tensor.data)
    step = len(data) if tensor.datatype == datatypes.BYTES else SLICE
    pieces: list[Piece] = []
    for at in range(0, len(data), step or 1):
        if at:
            pieces.append(b",")
        part = bytes(data[at : at + step])
        field = f"outputs[{tensor.name!r}]"
        pieces.append(await processes.run(_write, part, tensor.datatype, field))
    return pieces


def _write(data: bytes, datatype: str, field: str) -> bytes:
    return msgspec.json.encode(tensors.to_json(data, datatype, field))[1:-1]
