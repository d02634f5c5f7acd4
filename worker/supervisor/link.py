"""The line between parent and device process: messages of one line of JSON, both ways.

    parent -> device process   {"hot": [refs]}     once: what the one before it held, hottest first
                               {"calm_s": 600}     it must not ask to be replaced for so long
    device process -> parent   {"epoch": "12"}     each time it registered
                               {"hot": [refs]}     when the order of what it holds has changed
                               {"hot": [refs], "renewing": true}
                                                   the last such list: it drains, to be replaced

The end of either process is the end of the line, which the other one sees.
"""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any, Self

LONGEST_LINE = 4 << 20


class Link:
    """One end of the line. `open` makes it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> Self:
        """Take over one end of a socket pair."""
        return cls(*await asyncio.open_connection(sock=end, limit=LONGEST_LINE))

    def tell(self, **message: Any) -> None:
        """Send a message; it is lost if the other process has ended."""
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def hear(self) -> dict[str, Any] | None:
        """The next message; None when the other process has ended."""
        try:
            line = await self._reader.readline()
        except (ConnectionError, ValueError):
            return None
        # A line without its end is all that a killed process could still write.
        return dict(json.loads(line)) if line.endswith(b"\n") else None

    def close(self) -> None:
        """Say no more."""
        self._writer.close()
