"""Large tensors of callers that wait, through shared memory instead of through Redis.

A megabyte through Redis is copied many times and written to its append-only file, request and
answer alike: 54 to 70 requests/s where a bare echo did 557 to 667 beside it, 8 at a time. A waiting
caller has not been promised anything before the answer, and cannot get one without its gateway. So
while gateway and workers share a host, such a request's tensors are in a file in memory that
belongs to the gateway, and the work entry carries the file's name. An accepted request (202,
streams) goes through Redis.

    <folder>/warmroute-<uid>-<hash of cell and Redis>/host-id    equal where memory is shared
    <folder>/warmroute-<uid>-<hash of cell and Redis>/<gateway>/<id>.in | <id>.out

A reference is the byte 0xC1, which no MessagePack text begins with, and the file's name.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import re
import secrets
import shutil
import struct
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from shared.envelope import Envelope, Outcome, Tensor
from shared.errors import Unavailable

Message = TypeVar("Message", Envelope, Outcome)

MARK = b"\xc1"
UNCLAIMED_S = 60.0
SHARED_MEMORY_FROM_BYTES = 128 << 10  # below this, going through Redis is as fast
_NAME = re.compile(r"gw-[0-9a-f]{12}/[0-9a-f]{32}\.(in|out)")
_HEAD = struct.Struct("<I")
_request = msgspec.msgpack.Decoder(tuple[Envelope, list[int]])
_outcome = msgspec.msgpack.Decoder(tuple[Outcome, list[int]])


def is_reference(raw: bytes) -> bool:
    """Whether a body or an outcome is the name of a file in shared memory."""
    return raw[:1] == MARK


def tensors_of(message: Envelope | Outcome) -> list[Tensor]:
    """The tensors a message carries."""
    return message.inputs if isinstance(message, Envelope) else message.outputs


def size_of(message: Envelope | Outcome) -> int:
    """Bytes of its tensors."""
    return sum(len(tensor.data) for tensor in tensors_of(message))


class SharedMemoryStore:
    """The shared memory of one cell on this host. `host` is equal where it is shared."""

    def __init__(self, root: Path, host: str) -> None:
        self._root = root
        self.host = host

    def put(self, gateway: str, request_id: str, kind: str, message: Envelope | Outcome) -> bytes:
        """Write a message into `gateway`'s folder; its reference. OSError if that cannot be."""
        name = f"{gateway}/{request_id}.{kind}"
        fresh = self._root / f"{name}.{secrets.token_hex(8)}.new"
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            _write_all(handle, _pieces(message))
            # Renamed into place: a late worker must not truncate a file that a gateway has mapped.
            fresh.rename(self._root / name)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)
        return MARK + name.encode()

    def get_request(self, reference: bytes) -> Envelope:
        """The request behind a reference; Unavailable if its gateway is gone or elsewhere."""
        header, data = _open(self._path(reference))
        message, lengths = _request.decode(header)
        return _attached(message, data, lengths)

    def take_outcome(self, reference: bytes) -> Outcome:
        """The outcome behind a reference. Deletes its file; the last view frees the memory."""
        path = self._path(reference)
        header, data = _open(path)
        path.unlink(missing_ok=True)
        message, lengths = _outcome.decode(header)
        return _attached(message, data, lengths)

    def drop(self, gateway: str, request_id: str) -> None:
        """Delete the files of a request."""
        for kind in ("in", "out"):
            (self._root / gateway / f"{request_id}.{kind}").unlink(missing_ok=True)

    def drop_unclaimed(self, gateway: str) -> int:
        """Remove outcomes that no gateway read: their callers left, or their commit was refused."""
        oldest, dropped = time.time() - UNCLAIMED_S, 0
        left = (p for p in (self._root / gateway).iterdir() if p.suffix in (".out", ".new"))
        for path in left:
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest:
                    path.unlink()
                    dropped += 1
        return dropped

    def open_folder(self, gateway: str) -> None:
        """Make a gateway's folder: from now on workers may answer into it."""
        (self._root / gateway).mkdir(mode=0o700, exist_ok=True)

    def close_folder(self, gateway: str) -> None:
        """Remove it and all that is left in it."""
        shutil.rmtree(self._root / gateway, ignore_errors=True)

    def close_all_but(self, alive: Collection[str]) -> int:
        """Remove the folders of gateways that died; how many."""
        dead = [p.name for p in self._root.glob("gw-*") if p.name not in alive]
        for gateway in dead:
            self.close_folder(gateway)
        return len(dead)

    def _path(self, reference: bytes) -> Path:
        name = reference[1:].decode(errors="replace")
        if not _NAME.fullmatch(name):
            raise Unavailable("a reference to shared memory is garbage")
        return self._root / name


def open_shared_memory(folder: str, cell: str, redis_url: str) -> SharedMemoryStore | None:
    """The shared memory below `folder`; None if it is 'off' or cannot be used."""
    if folder == "off":
        return None
    mark = hashlib.sha256(f"{cell} {redis_url}".encode()).hexdigest()[:12]
    root = Path(folder) / f"warmroute-{os.getuid()}-{mark}"
    try:
        root.mkdir(mode=0o700, exist_ok=True)
        if root.stat().st_uid != os.getuid():
            return None
        return SharedMemoryStore(root, _host_id(root / "host-id"))
    except OSError:
        return None


def _host_id(path: Path) -> str:
    """A random name that the first process writes; other memory (a container's) has another."""
    fresh = path.with_name(f"host-id-{secrets.token_hex(8)}")
    fresh.write_text(secrets.token_hex(8))
    try:
        os.link(fresh, path)  # atomic: one of several that start together wins
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    return path.read_text()


def _pieces(message: Envelope | Outcome) -> list[bytes | memoryview]:
    """Length, header without tensor data, then the data of each tensor: nothing is joined."""
    tensors = tensors_of(message)
    bare = [Tensor(t.name, t.datatype, t.shape, memoryview(b"")) for t in tensors]
    field = "inputs" if isinstance(message, Envelope) else "outputs"
    header = msgspec.msgpack.encode(
        (msgspec.structs.replace(message, **{field: bare}), [len(t.data) for t in tensors])
    )
    return [_HEAD.pack(len(header)), header, *(t.data for t in tensors)]


def _write_all(handle: int, pieces: list[bytes | memoryview]) -> None:
    for piece in pieces:
        view = memoryview(piece).cast("B")
        while view:
            view = view[os.write(handle, view) :]


def _open(path: Path) -> tuple[memoryview, memoryview]:
    """The header and the tensors' data of a file, both views of its memory."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        raise Unavailable("its gateway is gone, or shares no memory with this worker") from None
    try:
        view = memoryview(mmap.mmap(handle, 0, prot=mmap.PROT_READ))
    finally:
        os.close(handle)
    end = _HEAD.size + _HEAD.unpack_from(view)[0]
    return view[_HEAD.size : end], view[end:]


def _attached(message: Message, data: memoryview, lengths: list[int]) -> Message:
    at = 0
    for tensor, length in zip(tensors_of(message), lengths, strict=True):
        tensor.data, at = data[at : at + length], at + length
    return message
