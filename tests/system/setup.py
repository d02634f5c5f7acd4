"""What the tests of this folder share besides fixtures."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.helpers.http import request
from tests.helpers.models import Mlp
from tests.helpers.stack import Process, Stack

MAX_BODY_BYTES = 4 << 20
UNLOADABLE_S = 3
ONE_ROW = json.dumps(
    {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 16], "data": [0.5] * 16}]}
).encode()


def open_stack(folder: Path, **settings: str) -> Stack:
    """A stack in `folder`, with an empty repository of its own."""
    repository = folder / "repository"
    repository.mkdir()
    return Stack(folder, repository.as_uri(), settings)


class Refusal(NamedTuple):
    """What a client was told: the status, and the text of `{"error": ...}`."""

    status: int
    error: str


Refused = Callable[[bytes], Refusal]


def refuses_connections(gateway: Process) -> bool:
    """Whether nobody listens any more at the address of a gateway."""
    where = urlsplit(gateway.url)
    try:
        socket.create_connection((where.hostname, where.port), 1).close()
    except ConnectionRefusedError:
        return True
    except TimeoutError:  # a machine that is slow
        return False
    return False


def post(
    path: str,
    body: bytes = ONE_ROW,
    headers: Mapping[str, str] | None = None,
    sent: bytes | None = None,
) -> bytes:
    """The bytes of a POST; `sent` goes out in place of the body that the headers speak of."""
    given = headers or {}
    usual = {} if "Transfer-Encoding" in given else {"Content-Length": str(len(body))}
    return request("POST", path, usual, given, body if sent is None else sent)


class Broken:
    """A version written by hand: the manifest of a good model, changed, and blobs as they come."""

    def __init__(self, stack: Stack, good: Mlp, name: str) -> None:
        self._root = stack.folder / "repository"
        self.name = name
        self.infer = f"/v2/models/{name}/infer"
        self.manifest = json.loads((self._root / good.name / "1/manifest.json").read_bytes())
        self.manifest["name"] = name
        self.file = self.manifest["files"][0]

    @property
    def path(self) -> Path:
        return self._root / self.name / "1" / "manifest.json"

    @property
    def blob(self) -> Path:
        return self._root / "blobs/sha256" / self.file["sha256"]

    def declare(self, content: bytes) -> None:
        """Let the manifest say that the model's file is `content`."""
        self.file |= {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}

    def hold(self, content: bytes) -> None:
        """Let it be so."""
        self.declare(content)
        self.blob.write_bytes(content)

    def write(self, raw: bytes | None = None) -> None:
        """Write the manifest, or other bytes in its place."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(json.dumps(self.manifest).encode() if raw is None else raw)
