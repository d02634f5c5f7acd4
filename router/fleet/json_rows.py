"""Long lists as JSON, each row of which is encoded when it is made.

As objects the 20,000 rows of a page stop the event loop for 10 ms when they are let go of, and the
collector of garbage looks at all of them; in one piece 5 MB of JSON do so when they are copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

PIECE = 64 << 10  # bytes; one piece is as large, or has one row

_encode = msgspec.json.Encoder().encode


class JsonRows:
    """A list. `beside`: fields that each row has in front of its own."""

    def __init__(self, beside: Mapping[str, Any] | None = None) -> None:
        self._beside = dict(beside or {})
        self._pieces: list[bytearray] = []
        self.count = 0

    def add(self, row: Mapping[str, Any]) -> None:
        """One more row."""
        if not self._pieces or len(self._pieces[-1]) >= PIECE:
            self._pieces.append(bytearray())
        piece = self._pieces[-1]
        if self.count:
            piece += b","
        piece += _encode({**self._beside, **row} if self._beside else row)
        self.count += 1

    def extend(self, other: JsonRows) -> None:
        """All rows of another list behind these."""
        if self.count and other.count:
            self._pieces.append(bytearray(b","))
        self._pieces += other._pieces
        self.count += other.count

    @property
    def pieces(self) -> list[bytes | bytearray]:
        """The JSON, in pieces."""
        return [b"[", *self._pieces, b"]"]
