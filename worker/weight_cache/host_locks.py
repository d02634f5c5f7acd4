"""Locks between the worker processes of one host, which share one blob cache.

One file, never written: each blob owns two bytes of its range to lock, at places taken from its
hash. The kernel drops the locks of a process that dies, so nothing is ever stale. They belong to
the open file (F_OFD_SETLK), not to the process: two caches in one process exclude each other too,
and closing one does not drop the other's. Within one cache they exclude nothing; that is its own
mutex's work.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path

_IN_USE = 0
_FETCHING = 1 << 60
_LEDGER = 1 << 61
_BUSY = {errno.EACCES, errno.EAGAIN}


class HostLocks:
    """Opens (and makes) the lock file; `close()` drops everything held through it."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        """Drop all locks."""
        os.close(self._fd)

    def use(self, sha256: str) -> None:
        """Share the blob with other users; waits while another process is about to evict it."""
        self._lock(fcntl.F_RDLCK, _IN_USE + _place(sha256), wait=True)

    def try_evict(self, sha256: str) -> bool:
        """Whether no other process uses the blob; if so none can until `end_use`."""
        return self._lock(fcntl.F_WRLCK, _IN_USE + _place(sha256))

    def end_use(self, sha256: str) -> None:
        """Undo `use` or `try_evict`."""
        self._lock(fcntl.F_UNLCK, _IN_USE + _place(sha256))

    def try_fetch(self, sha256: str) -> bool:
        """Whether no other process fetches the blob; if so none will until `end_fetch`."""
        return self._lock(fcntl.F_WRLCK, _FETCHING + _place(sha256))

    def end_fetch(self, sha256: str) -> None:
        """Undo `try_fetch`."""
        self._lock(fcntl.F_UNLCK, _FETCHING + _place(sha256))

    def lock_ledger(self) -> None:
        """Wait until no other process counts and reserves space."""
        self._lock(fcntl.F_WRLCK, _LEDGER, wait=True)

    def unlock_ledger(self) -> None:
        """Undo `lock_ledger`."""
        self._lock(fcntl.F_UNLCK, _LEDGER)

    def _lock(self, kind: int, start: int, *, wait: bool = False) -> bool:
        """Set one byte's lock; False if another holds it and `wait` is not set."""
        request = struct.pack("hhqqi0q", kind, os.SEEK_SET, start, 1, 0)  # struct flock
        try:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, request)
        except OSError as error:
            if error.errno in _BUSY and not wait:
                return False
            raise
        return True


def _place(sha256: str) -> int:
    """A byte below 2**60. Two blobs that met there would only be evicted later than they could."""
    return int(sha256[:15], 16)
