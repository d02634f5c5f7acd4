"""A server that answers with exactly the bytes, in exactly the pieces, that a test wants."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator

import pytest

LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class RawServer:
    """Sends `pieces` for each request that has come in whole; [] hangs up instead."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.seen: list[bytes] = []
        self.together = threading.Barrier(1)  # so many requests come in before any is answered
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # else `accept` goes on waiting, and listening
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            while request := self._read(connection):
                self.seen.append(request)
                self.together.wait(60)
                if not self.pieces:
                    return
                for piece in self.pieces:
                    connection.sendall(piece)
                    time.sleep(0.005)  # so that each piece arrives by itself

    @staticmethod
    def _read(connection: socket.socket) -> bytes:
        raw = b""
        while True:
            head, end, body = raw.partition(b"\r\n\r\n")
            length = LENGTH.search(head)
            if end and len(body) >= int(length[1] if length else 0):
                return raw
            try:
                chunk = connection.recv(65536)
            except ConnectionResetError:
                return b""
            if not chunk:
                return b""
            raw += chunk


@pytest.fixture
def server() -> Iterator[RawServer]:
    """The server, listening on a free port."""
    server = RawServer()
    yield server
    server.close()
