"""Plain HTTP, also of the kind that no decent client sends: the bytes are the caller's own."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 40.0


@dataclass(frozen=True)
class Answer:
    """A response, whole in memory. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    url: str, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Answer:
    """One well-formed request over a connection of its own."""
    sent = request(method, path, {"Content-Length": str(len(body))}, headers, body)
    return exchange(url, sent, method)


def request(
    method: str,
    path: str,
    usual: Mapping[str, str],
    headers: Mapping[str, str] | None,
    body: bytes,
) -> bytes:
    """The bytes of a request; `path` goes out as it stands, each character a byte."""
    given = {"Host": "warmroute.test", "Connection": "close", **usual, **(headers or {})}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(body: bytes, size: int = 65536) -> bytes:
    """`body` in chunked transfer coding."""
    parts: Iterable[bytes] = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def exchange(url: str, sent: bytes, method: str = "") -> Answer:
    """Send bytes and read one response: that of a HEAD has no body, whatever its headers say. A
    server may answer and hang up before it has read all."""
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port), TIMEOUT_S) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # it has said what it had to say
            connection.sendall(sent)
        response = http.client.HTTPResponse(connection, method=method or None)
        try:
            response.begin()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, response.read())
        finally:
            response.close()
