"""Idempotency keys: which calls are retries of one request.

A key stands for a request and its payload, for a day, in the whole cell: `place` records it in the
step that accepts the request. A call with the same key and payload joins that request.
"""

from __future__ import annotations

import hashlib
import re

import msgspec

from shared.envelope import Envelope
from shared.errors import InvalidInput

MAX_KEY = 256
_KEY = re.compile(rf"[\x20-\x7e]{{1,{MAX_KEY}}}")


def check_key(key: str, field: str) -> str:
    """The key; InvalidInput, naming `field`, unless it is 1 to 256 printable ASCII characters."""
    if not _KEY.fullmatch(key):
        raise InvalidInput(f"{field}: want 1 to {MAX_KEY} printable ASCII characters")
    return key


def fingerprint(model: str, version: str, envelope: Envelope) -> str:
    """A digest of the payload: the model and version as named, inputs and requested outputs.

    JSON and binary forms of the same tensors have the same one. Deadline, priority and trace
    context make no difference.
    """
    heads = [(t.name, t.datatype, t.shape, len(t.data)) for t in envelope.inputs]
    asked = msgspec.msgpack.encode((model, version, heads, envelope.outputs))
    digest = hashlib.blake2b(asked, digest_size=16)
    for tensor in envelope.inputs:
        digest.update(tensor.data)
    return digest.hexdigest()
