"""Local files of repository and cache: durable writes, and the system's errors in ours."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from shared.errors import BlobMissing, DiskFull, Forbidden, RepositoryError

STEP_BYTES = 256 << 10  # read, hash and write in steps that stay in the CPU cache
_FULL = {errno.ENOSPC, errno.EDQUOT}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Translate OSError of file operations on `what` ("the blob cache"); paths stay out of it."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        if error.errno in _FULL:
            raise DiskFull(f"{what}: {reason}") from error
        if error.errno in _REFUSED:
            raise Forbidden(f"{what}: {reason}") from error
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise BlobMissing(f"{what}: {reason}") from error
        raise RepositoryError(f"{what}: {reason}") from error


def write_all(fd: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """pwrite all of `data` at `offset`; a signal or a nearly full disk may cut one call short."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def hash_range(hasher: hashlib._Hash, fd: int, start: int, end: int) -> None:
    """Feed bytes [start, end) of `fd` to `hasher`; OSError if the file ends before.

    Reads into one small buffer: the pages are in memory, and mapping them was measured slower
    (page faults cost more than the copy).
    """
    buffer = memoryview(bytearray(min(STEP_BYTES, max(end - start, 1))))
    while start < end:
        count = os.preadv(fd, [buffer[: end - start]], start)
        if count == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        hasher.update(buffer[:count])
        start += count


def sha256_of(path: Path) -> tuple[str, int]:
    """Hex sha256 and size in bytes of a file's present content. OSError as the system gives it."""
    with path.open("rb") as file:
        return sha256_of_open(file)


def sha256_of_open(file: BufferedReader) -> tuple[str, int]:
    """Hex sha256 and size in bytes of an open file, from its start. OSError as the system gives
    it."""
    digest = hashlib.file_digest(file, "sha256")
    return digest.hexdigest(), file.tell()


def copy_hashing(
    source: int, target: int, on_bytes: Callable[[int], None], at_most: int = sys.maxsize
) -> str:
    """Copy an open file, or its first `at_most` bytes, to another; hex sha256 of what was written.

    The hash is of the bytes in memory, so a source that changes meanwhile cannot make it lie.
    """
    hasher, offset = hashlib.sha256(), 0
    buffer = memoryview(bytearray(STEP_BYTES))
    while count := os.preadv(source, [buffer[: at_most - offset]], offset):
        write_all(target, buffer[:count], offset)
        hasher.update(buffer[:count])
        offset += count
        on_bytes(count)
    return hasher.hexdigest()


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
