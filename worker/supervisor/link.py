"""Messages between the parent and the device process: one line of JSON each, both ways.

    parent -> device process   {"hot": [refs], "served_before": bool, "suspect": reason,
                                "parent": token}
                                   first: the models to load, the most recently used first,
                                   whether another process of this worker has served before,
                                   why this one is on probation ('': it is not), and a name of
                                   the parent that no other parent has
                               {"restart_not_before_s": 600}
                                   it must not request a restart for so many seconds
    device process -> parent   {"epoch": "12"}     after each registration
                               {"hot": [refs]}     when its models or their order have changed
                               {"hot": [refs], "recycling": true}
                                   the last such list: it drains, to be replaced by a new process
                               {"hot": [refs], "recycling": true, "sick": reason}
                                   likewise, as its host or its device fails

The end of either process is the end of the link, which the other one sees.
"""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any, Self

MAX_LINE_BYTES = 4 << 20


class Link:
    """One end of the link. `open` makes it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> Self:
        """Take over one end of a socket pair."""
        return cls(*await asyncio.open_connection(sock=end, limit=MAX_LINE_BYTES))

    def send(self, **message: Any) -> None:
        """Send a message; it is lost if the other process has ended."""
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def receive(self) -> dict[str, Any] | None:
        """The next message; None when the other process has ended."""
        try:
            line = await self._reader.readline()
        except (ConnectionError, ValueError):
            return None
        # A killed process can leave a line without its end.
        return dict(json.loads(line)) if line.endswith(b"\n") else None

    def close(self) -> None:
        """Close this end: no more messages are sent."""
        self._writer.close()
