"""Idempotency keys: which requests are the same one, asked again.

A key stands for a request and what it asked for, for a day, in the whole cell: `place` remembers it
in the step that accepts the request. Who asks the same under the same key joins that request.
"""

from __future__ import annotations

import hashlib
import re

import msgspec
from aiohttp import web

from shared.envelope import Envelope
from shared.errors import InvalidInput

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
MAX_KEY = 256
_KEY = re.compile(rf"[\x20-\x7e]{{1,{MAX_KEY}}}")


def read_key(request: web.Request) -> str:
    """The header's value, '' without it; InvalidInput if it is no key or is given twice."""
    key = request.headers.get(HEADER)
    if key is None:
        return ""
    if len(request.headers.getall(HEADER)) > 1:
        raise InvalidInput(f"{HEADER}: given twice")
    return check_key(key, HEADER)


def check_key(key: str, field: str) -> str:
    """The key; InvalidInput, naming `field`, unless it is 1 to 256 printable ASCII characters."""
    if not _KEY.fullmatch(key):
        raise InvalidInput(f"{field}: want 1 to {MAX_KEY} printable ASCII characters")
    return key


def fingerprint(model: str, version: str, envelope: Envelope) -> str:
    """What is asked, as a digest: the model and version as named, inputs and wanted outputs.

    JSON and binary forms of the same tensors have the same one. How long it may take, how urgent it
    is and who traces it make no difference.
    """
    heads = [(t.name, t.datatype, t.shape, len(t.data)) for t in envelope.inputs]
    asked = msgspec.msgpack.encode((model, version, heads, envelope.outputs))
    digest = hashlib.blake2b(asked, digest_size=16)
    for tensor in envelope.inputs:
        digest.update(tensor.data)
    return digest.hexdigest()
