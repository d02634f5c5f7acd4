"""The messages between gateway and worker: a request's inputs and its outcome.

Tensors are raw little-endian bytes with name, datatype and shape (the V2 binary tensor layout;
BYTES elements are a uint32 LE length and the bytes). Packed as MessagePack arrays, so decoding
copies no tensor: `data` is a view into the received bytes.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from shared.errors import WarmrouteError, from_code


class Tensor(Struct, array_like=True):
    """One tensor. `data` holds prod(shape) elements (of BYTES: as many length-prefixed ones)."""

    name: str
    datatype: str
    shape: list[int]
    data: memoryview


FIRST, USUAL, LAST = 1, 5, 9  # priorities


class Envelope(Struct, array_like=True):
    """What a worker needs to run a request. `outputs` empty means all of them; a lower `priority`
    runs first."""

    inputs: list[Tensor]
    outputs: list[str] = []
    id: str = ""  # the caller's own id, given back in the answer
    traceparent: str = ""
    priority: int = USUAL  # added last: envelopes of an older gateway get the default


class Timing(Struct, array_like=True, frozen=True):
    """Where a worker's time went, in microseconds, and how large the batch was."""

    queue_us: int = 0
    compute_us: int = 0
    batch: int = 1


class Outcome(Struct, array_like=True):
    """The outcome of a successful request."""

    outputs: list[Tensor]
    id: str = ""
    timing: Timing = Timing()


_encoder = msgspec.msgpack.Encoder()
_envelope = msgspec.msgpack.Decoder(Envelope)
_outcome = msgspec.msgpack.Decoder(Outcome)


def pack(message: Envelope | Outcome) -> bytes:
    """Encode a message for Redis."""
    return _encoder.encode(message)


def unpack_envelope(raw: bytes) -> Envelope:
    """Decode a request; msgspec.MsgspecError if it is garbage."""
    try:
        return _envelope.decode(raw)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error


def unpack_outcome(raw: bytes) -> Outcome:
    """Decode a success; msgspec.MsgspecError if it is garbage."""
    try:
        return _outcome.decode(raw)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error


def pack_error(error: WarmrouteError) -> bytes:
    """A failure travels as `code message`, so that Lua scripts can write one too."""
    return f"{error.code} {error.message}".encode(errors="replace")


def unpack_error(raw: bytes) -> WarmrouteError:
    """Rebuild the error of a failed, expired or cancelled request."""
    code, _, message = raw.decode(errors="replace").partition(" ")
    return from_code(code, message)
