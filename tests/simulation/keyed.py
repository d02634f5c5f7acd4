"""Idempotency keys as `place` treats them: one key, one request (I13)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from shared.scripts import Placing
from tests.simulation.loads import ARGS
from tests.simulation.server import Ran

if TYPE_CHECKING:
    from tests.simulation.history import History

LIMITS = 3  # arguments of `place` before its items


class Keyed:
    """Requests by key, until their key is free again."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._requests: dict[str, str] = {}

    def placed(self, args: tuple[Any, ...], ran: Ran) -> None:
        """What `place` answered to each item that has a key."""
        width, given = len(Placing._fields), args[ARGS + LIMITS + 1 + len(Placing._fields) :]
        for at, row in enumerate(ran.reply):
            item = Placing(*given[at * width : (at + 1) * width])
            status, where = row[0].decode(), row[1].decode()
            if item.key and status in ("placed", "parked"):
                if item.key in self._requests:
                    self._history.violated(f"I13: two requests for the key {item.key}")
                self._requests[item.key] = item.id
            elif status == "joined" and where not in (item.id, self._requests.get(item.key)):
                self._history.violated(f"I13: the key {item.key} led to {where}")

    def freed(self, digest: str, script: str) -> None:
        """A key is free again when its request has ended without an answer of its model."""
        for key, request_id in list(self._requests.items()):
            if hashlib.sha1(key.encode()).hexdigest() == digest:
                del self._requests[key]
                said = {status for status, _ in self._history.said.get(request_id, ())}
                if "succeeded" in said:
                    self._history.violated(f"I13: {script} forgot the key {key} of {request_id}")
