"""Large tensors of callers that wait, through shared memory instead of through Redis.

A megabyte through Redis is copied many times and written to its append-only file, request and
answer alike: 54 to 70 requests/s where a bare echo did 557 to 667 beside it, 8 at a time. A waiting
caller has not been promised anything before the answer, and cannot get one without its gateway. So
while gateway and workers share a host, such a request's tensors are in a file in memory that
belongs to the gateway, and the work entry carries the file's name. An accepted request (202,
streams) goes through Redis.

    <root>/<gateway>/<id>.in | <id>.out    <root>: see `shared_memory_root.py`

A reference is the byte 0xC1, which no MessagePack text begins with, and the file's name. Where the
memory is full or cannot be written to, tensors go through Redis as all others do.
"""

from __future__ import annotations

import logging
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
from shared.owned_folder import make_owned, open_owned
from shared.shared_memory_root import SharedRoot, open_root

log = logging.getLogger(__name__)

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

    def __init__(self, root: SharedRoot) -> None:
        self._shared = root
        self._root = root.path
        self.host = root.host
        self._warned = False

    def put(self, gateway: str, request_id: str, kind: str, message: Envelope | Outcome) -> bytes:
        """Write a message into `gateway`'s folder; its reference. OSError if that cannot be: one
        warning says so, until it can be again."""
        try:
            reference = self._put(f"{gateway}/{request_id}.{kind}", message)
        except OSError as error:
            self.warn(error)
            raise
        self._warned = False
        return reference

    def warn(self, error: OSError) -> None:
        """Say once that the memory cannot be used. A folder that is not there is a gateway that has
        ended, or is on another host."""
        if not (self._warned or isinstance(error, FileNotFoundError)):
            self._warned = True
            log.warning("large tensors go through Redis: shared memory: %s", error.strerror)

    def leave(self) -> None:
        """Use it no longer; the last process that leaves removes it."""
        self._shared.leave()

    def _put(self, name: str, message: Envelope | Outcome) -> bytes:
        fresh = self._root / f"{name}.{secrets.token_hex(8)}.new"
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            _write_all(handle, _pieces(message))
            # Renamed into place: a late worker must not truncate a file that a gateway has mapped.
            fresh.rename(self._root / name)
        except OSError:
            with suppress(OSError):
                fresh.unlink()
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
        with suppress(OSError):  # its gateway removes it later
            path.unlink()
        message, lengths = _outcome.decode(header)
        return _attached(message, data, lengths)

    def drop(self, gateway: str, request_id: str) -> None:
        """Delete the files of a request."""
        for kind in ("in", "out"):
            with suppress(OSError):  # often called while an error is handled
                (self._root / gateway / f"{request_id}.{kind}").unlink()

    def drop_unclaimed(self, gateway: str) -> int:
        """Remove outcomes that no gateway read: their callers left, or their commit was refused.
        OSError if the folder cannot be read."""
        oldest, dropped = time.time() - UNCLAIMED_S, 0
        left = (p for p in (self._root / gateway).iterdir() if p.suffix in (".out", ".new"))
        for path in left:
            with suppress(OSError):
                if path.stat().st_mtime < oldest:
                    path.unlink()
                    dropped += 1
        return dropped

    def open_folder(self, gateway: str) -> None:
        """Make a gateway's folder: from now on workers may answer into it. OSError if that cannot
        be."""
        make_owned(self._root / gateway)

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
    try:
        return SharedMemoryStore(open_root(Path(folder), cell, redis_url))
    except OSError as error:
        log.warning("large tensors go through Redis: WARMROUTE_SHARED_MEMORY: %s", error)
        return None


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
        handle = open_owned(path)
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
