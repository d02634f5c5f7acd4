"""A request as a door hands it in, and the ticket that the door gets for it.

An idempotency key stands for a request and its payload, for a day, in the whole cell: `place`
records it in the step that accepts the request. A call with the same key and payload joins it.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import Callable
from typing import Literal

import msgspec
from msgspec import Struct

from router.requests.waiters import Reply
from router.v2.request import InferRequest
from shared import statuses
from shared.cell_list import TAG, tag_of
from shared.envelope import Envelope
from shared.errors import InvalidInput
from shared.manifest import Manifest
from shared.names import ModelRef
from shared.placed import Placed

MAX_KEY = 256
ID_DIGITS = 32
_KEY = re.compile(rf"[\x20-\x7e]{{1,{MAX_KEY}}}")


# How a caller gets its outcome: it waits for it until the deadline; or it gets an id, at once or
# after `wait_s`, and polls; or the outcome is written to the stream `reply_to`.
Mode = Literal["wait", "respond-async", "stream"]


class Call(Struct, kw_only=True):
    """One inference request, whichever door it came through.

    A door gives `model`, `version` as named ('' for the newest that is loaded), and either `body`
    (V2 JSON; `header_length` as in Inference-Header-Content-Length) or `request`, already parsed.
    `timeout_s`: given beside the body; the smaller of it and the body's own applies. It counts from
    now on, or with `entry` from when that stream entry was written.
    `check_form` raises if the door cannot render what the request asks for.
    Priority is a field of the parsed request.
    """

    model: str = ""
    version: str = ""
    body: bytes = b""
    header_length: str | None = None
    request: InferRequest | None = None
    check_form: Callable[[InferRequest, Manifest], None] | None = None
    timeout_s: float | None = None
    key: str = ""
    caller_id: str = ""
    traceparent: str = ""
    mode: Mode = "wait"
    wait_s: float = 0.0
    reply_to: str = ""
    entry: str = ""
    waited_s: float = 0.0  # since this gateway read the stream entry
    # Set by the intake.
    admitted_bytes: int = 0
    ref: ModelRef | None = None
    fingerprint: str = ""

    @property
    def waits(self) -> bool:
        """Whether a caller waits for the outcome at this gateway, at least for a while."""
        return self.mode == "wait" or self.wait_s > 0

    @property
    def kept(self) -> bool:
        """Whether the outcome is kept, so it can be asked for again."""
        return self.mode != "wait" or self.key != ""


class Ticket(Struct, kw_only=True, eq=False):
    """An accepted request. `joined`: it is an earlier one of the same key; `status` as pollers see
    it. `worker` and `cold` (it waited for a load) are known with the outcome."""

    id: str
    ref: ModelRef
    call: Call
    placed: Placed
    future: asyncio.Future[Reply] | None
    joined: bool = False
    status: str = statuses.QUEUED
    worker: str = ""
    cold: bool = False


class RequestIds:
    """Unguessable ids of 112 random bits behind the tag of their cell, by which any gateway
    finds it again; drawn in blocks: one system call for many."""

    BLOCK = 256

    def __init__(self, cell: str) -> None:
        self._tag = tag_of(cell)
        self._ready: list[str] = []

    def take(self) -> str:
        """32 hex digits, never given before."""
        if not self._ready:
            digits = ID_DIGITS - TAG
            block = secrets.token_hex(digits // 2 * self.BLOCK)
            starts = range(0, len(block), digits)
            self._ready = [self._tag + block[at : at + digits] for at in starts]
        return self._ready.pop()


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
