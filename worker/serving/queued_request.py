"""One request on a worker, decoded from its entry of the work stream."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from shared import clock
from shared.constants import ENTRY_FIELDS
from shared.envelope import FIRST, LAST, Envelope, Tensor, unpack_envelope
from shared.errors import InvalidInput, Unavailable
from shared.shared_memory import SharedMemoryStore, is_reference, size_of

# How `placement.lua` writes an entry: name, value, name, value ...
FIELDS = tuple(name.encode() for name in ENTRY_FIELDS)
_DEFAULTS = {b"reply": b"", b"flags": b"", b"attempts": b"0"}

ISOLATED_FROM = 1  # starts that ended in a worker's death: from then on it runs alone


class QueuedRequest(NamedTuple):
    """A placed request. `size`: bytes of its inputs; `items`: their first dimension. `signature`:
    requests with the same one may share a device call. `attempts`: starts before this one.
    `received`: seconds of `clock.monotonic`."""

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
    attempts: int

    @property
    def isolated(self) -> bool:
        """Whether it runs without batch-mates: it is suspected of killing workers; or it has no
        items, and the answer to that must not depend on its batch-mates."""
        return self.attempts >= ISOLATED_FROM or self.items == 0


def decode(
    entry: bytes, flat: list[bytes], shared_memory: SharedMemoryStore | None = None
) -> QueuedRequest:
    """Read an entry; fields of a newer release are ignored. InvalidInput if it is not what a
    gateway writes, Unavailable if its tensors lie in shared memory that is gone."""
    request_id, model, deadline, reply, flags, starts, body = _values(flat)
    try:
        ref, deadline_ms, attempts = model.decode(), int(deadline), int(starts)
    except ValueError:
        raise InvalidInput("work entry: model, deadline or attempts cannot be read") from None
    if attempts < 0:
        raise InvalidInput(f"work entry: attempts: {attempts}, at least 0")
    envelope = _envelope(body, shared_memory)
    if not FIRST <= envelope.priority <= LAST:
        raise InvalidInput(
            f"work entry: priority: {envelope.priority}, want {FIRST} (first) to {LAST}"
        )
    return QueuedRequest(
        entry=entry, id=request_id, ref=ref, deadline_ms=deadline_ms, reply=reply,
        flags=flags, envelope=envelope, size=size_of(envelope), items=_items(envelope.inputs),
        signature=tuple((t.name, t.datatype, tuple(t.shape[1:])) for t in envelope.inputs),
        received=clock.monotonic(), attempts=attempts,
    )  # fmt: skip


def _values(flat: list[bytes]) -> list[bytes]:
    """The values of the known fields, in their order."""
    if len(flat) == 2 * len(FIELDS) and tuple(flat[::2]) == FIELDS:
        return flat[1::2]
    given = _DEFAULTS | dict(zip(flat[::2], flat[1::2], strict=False))
    missing = [name.decode() for name in FIELDS if name not in given]
    if missing:
        raise InvalidInput(f"work entry: {missing[0]}: missing")
    return [given[name] for name in FIELDS]


def _envelope(body: bytes, shared_memory: SharedMemoryStore | None) -> Envelope:
    try:
        if not is_reference(body):
            return unpack_envelope(body)
        if shared_memory is None:
            raise Unavailable("this worker shares no memory with the gateway")
        return shared_memory.get_request(body)
    except msgspec.MsgspecError as error:
        raise InvalidInput(f"work entry: envelope: {error}") from error


def entry_order(entry: bytes) -> tuple[int, int]:
    """Stream entry ids compare as two numbers, not as text."""
    milliseconds, _, sequence = entry.partition(b"-")
    return int(milliseconds), int(sequence or 0)


def _items(inputs: list[Tensor]) -> int:
    return inputs[0].shape[0] if inputs and inputs[0].shape else 1
