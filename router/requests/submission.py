"""What a door hands in, and what it gets for it: a ticket, and in the end an answer."""

from __future__ import annotations

import asyncio
import secrets
from typing import NamedTuple

from msgspec import Struct

from router.requests.waiters import Reply
from shared.envelope import Envelope, Outcome
from shared.names import ModelRef
from shared.scripts import Placed


class Submission(Struct, frozen=True, kw_only=True):
    """What a door hands in. `wait`: a caller waits here. `keep`: pollers may ask for it.

    With a `key` (see idempotency.py) it is always kept; `fingerprint` says what it asks for.
    """

    ref: ModelRef
    envelope: Envelope
    timeout_s: float
    wait: bool = True
    keep: bool = False
    ingress: str = ""
    reply_to: str = ""
    key: str = ""
    fingerprint: str = ""


class Answer(NamedTuple):
    """The outcome of a request that succeeded, and where it came from."""

    worker: str
    cold: bool
    outcome: Outcome


class Ticket(Struct, kw_only=True, eq=False):
    """An accepted request. `joined`: an earlier one of the same key; `status` as pollers see it."""

    id: str
    ref: ModelRef
    placed: Placed
    future: asyncio.Future[Reply] | None
    key: str = ""
    joined: bool = False
    status: str = "queued"


class RequestIds:
    """Unguessable ids of 128 random bits, drawn in blocks: one system call for many."""

    BLOCK = 256

    def __init__(self) -> None:
        self._ready: list[str] = []

    def take(self) -> str:
        """32 hex digits, never given before."""
        if not self._ready:
            block = secrets.token_hex(16 * self.BLOCK)
            self._ready = [block[at : at + 32] for at in range(0, len(block), 32)]
        return self._ready.pop()
