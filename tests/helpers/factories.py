"""Well-formed examples of our messages, of which a test changes what it is about."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from shared import clock, datatypes
from shared.envelope import Envelope, Tensor
from shared.manifest import Batching, FileEntry, Manifest, TensorSpec
from shared.scripts import Placing
from worker.serving.queued_request import QueuedRequest

REF = "mnist:1:0123456789ab"
OTHER_REF = "bert:2:ba9876543210"
KEPT = "kp"  # flags of a request that has a record and whose outcome is kept
_serial = itertools.count(1)


def request_id() -> str:
    """32 hex digits, never the same twice."""
    return f"{next(_serial):032x}"


def placing(**changes: Any) -> Placing:
    """A request for `place` that a caller waits for at gateway gw1."""
    usual = {
        "id": request_id(), "ref": REF, "timeout_ms": 60_000, "reply": "gw1", "flags": "",
        "ingress": "", "reply_to": "", "caller_id": "", "key": "", "fingerprint": "",
        "body": b"body",
    }  # fmt: skip
    return Placing(**{**usual, **changes})


def kept(**changes: Any) -> Placing:
    """A request that was submitted to be polled: nobody waits, its outcome is kept."""
    return placing(**{"reply": "", "flags": KEPT, **changes})


def spec(name: str = "x", datatype: str = "FP32", shape: list[int] | None = None) -> TensorSpec:
    """A named tensor, by default FP32 of one dimension of any size."""
    return TensorSpec(name, datatype, [-1] if shape is None else shape)


def file_entry(name: str = "weights/0.safetensors", byte: str = "a", size: int = 10) -> FileEntry:
    """A file whose digest is one hex digit, repeated."""
    return FileEntry(name, byte * 64, size)


def manifest(**changes: Any) -> Manifest:
    """A model with an input `x` and an output `y`, FP32 of [batch, 2], in batches of up to 4."""
    usual: dict[str, Any] = {
        "name": "mnist",
        "version": 1,
        "platform": "pytorch_program",
        "inputs": [spec("x", "FP32", [-1, 2])],
        "outputs": [spec("y", "FP32", [-1, 2])],
        "files": [file_entry()],
        "batching": Batching(max_size=4),
    }
    return Manifest(**{**usual, **changes})


def tensor(array: np.ndarray, name: str = "x") -> Tensor:
    """The message form of an array of numbers."""
    datatype = datatypes.from_numpy(array.dtype)
    return Tensor(name, datatype, list(array.shape), memoryview(array.tobytes()))


def work(array: np.ndarray | None = None, **changes: Any) -> QueuedRequest:
    """A request in a worker's hands: one row of two FP32 by default."""
    given = np.zeros((1, 2), dtype="<f4") if array is None else array
    sent = tensor(given)
    number = next(_serial)
    usual: dict[str, Any] = {
        "entry": f"{number}-0".encode(), "id": f"{number:032x}".encode(), "ref": REF,
        "deadline_ms": 1 << 45, "reply": b"gw1", "flags": b"", "envelope": Envelope([sent]),
        "size": len(sent.data), "items": given.shape[0] if given.shape else 1,
        "signature": (("x", sent.datatype, given.shape[1:]),), "received": clock.monotonic(),
        "attempts": 0,
    }  # fmt: skip
    return QueuedRequest(**{**usual, **changes})
