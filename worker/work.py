"""One request in a worker's hands, decoded from its entry of the work stream."""

from __future__ import annotations

import time
from typing import NamedTuple

import msgspec

from shared.bulk import Bulk, is_reference, size_of
from shared.envelope import Envelope, Tensor, unpack_envelope
from shared.errors import InvalidInput, Unavailable

# How `placement.lua` writes an entry: name, value, name, value ...
FIELDS = (b"id", b"model", b"deadline", b"reply", b"flags", b"attempts", b"body")


class Work(NamedTuple):
    """A placed request. `signature`: requests that may share one device call have it in common."""

    entry: bytes
    id: bytes
    ref: str
    deadline_ms: int
    reply: bytes
    flags: bytes
    envelope: Envelope
    size: int
    items: int
    signature: tuple[tuple[str, str, tuple[int, ...]], ...]
    received: float


def decode(entry: bytes, flat: list[bytes], bulk: Bulk | None = None) -> Work:
    """Read an entry; InvalidInput if it is not what a gateway writes, Unavailable if its tensors
    lie in shared memory that is gone."""
    if len(flat) != 2 * len(FIELDS) or tuple(flat[::2]) != FIELDS:
        raise InvalidInput("work entry: not the fields that placement writes")
    request_id, model, deadline, reply, flags, _, body = flat[1::2]
    try:
        ref, deadline_ms = model.decode(), int(deadline)
    except ValueError:
        raise InvalidInput("work entry: model or deadline cannot be read") from None
    envelope = _envelope(body, bulk)
    return Work(
        entry=entry, id=request_id, ref=ref, deadline_ms=deadline_ms, reply=reply,
        flags=flags, envelope=envelope, size=size_of(envelope), items=_items(envelope.inputs),
        signature=tuple((t.name, t.datatype, tuple(t.shape[1:])) for t in envelope.inputs),
        received=time.perf_counter(),
    )  # fmt: skip


def _envelope(body: bytes, bulk: Bulk | None) -> Envelope:
    try:
        if not is_reference(body):
            return unpack_envelope(body)
        if bulk is None:
            raise Unavailable("this worker shares no memory with the gateway")
        return bulk.get_request(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"work entry: envelope: {error}") from error


def _items(inputs: list[Tensor]) -> int:
    return inputs[0].shape[0] if inputs and inputs[0].shape else 1
