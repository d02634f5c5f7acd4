"""Which blobs are in use, in this process and in others of this host, and which may be evicted.

The processes share one lock file, which is never written: each blob owns two bytes of its range to
lock, at places taken from its hash. The kernel releases the locks of a process that dies, so
nothing is ever stale. They belong to the open file (F_OFD_SETLK), not to the process: two caches in
one process exclude each other too, and closing one does not release the other's. Within one cache
they exclude nothing; that is the job of its own mutex.

If the lock file is deleted, or another lies in its place, `renew` takes all that is held again in
the one that processes which start later find.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from shared.repository.disk import disk_errors
from worker.weight_cache.files import CACHE, CachedFile

_IN_USE = 0
_FETCHING = 1 << 60
_LEDGER = 1 << 61
_BUSY = {errno.EACCES, errno.EAGAIN}


class HostLocks:
    """Opens (or creates) the lock file; `close()` releases everything held through it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = _open(path)
        self._held: dict[int, int] = {}  # start -> kind of lock
        self._renewing = threading.Lock()  # no waiting for others within
        self._renewed = 0

    def close(self) -> None:
        """Release all locks."""
        os.close(self._fd)

    def renew(self) -> None:
        """Look whether the file is still the one that others find; else lock in theirs what is held
        here. Its folder must be there. A blob that another process is evicting stays unlocked."""
        with self._renewing:
            with suppress(FileNotFoundError):
                if os.path.samestat(self._path.stat(), os.fstat(self._fd)):
                    return
            new = _open(self._path)
            for start, kind in self._held.items():
                _set_lock(new, kind, start)
            os.dup2(new, self._fd, inheritable=False)  # in one step, under a number that is in use
            os.close(new)
            self._renewed += 1

    def use(self, sha256: str) -> None:
        """Mark the blob as in use; waits while another process is about to evict it."""
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
        while True:
            renewed = self._renewed
            if not _set_lock(self._fd, kind, start, wait=wait):
                return False
            with self._renewing:
                if renewed == self._renewed:  # else it may lie in the file that is gone
                    self._held[start] = kind
                    if kind == fcntl.F_UNLCK:
                        del self._held[start]
                    return True


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _set_lock(fd: int, kind: int, start: int, *, wait: bool = False) -> bool:
    request = struct.pack("hhqqi0q", kind, os.SEEK_SET, start, 1, 0)  # struct flock
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, request)
    except OSError as error:
        if error.errno in _BUSY and not wait:
            return False
        raise
    return True


def _place(sha256: str) -> int:
    """A byte below 2**60. Two blobs with one place would only be evicted later than they could."""
    return int(sha256[:15], 16)


class Pins:
    """Counts uses in this process, and shows them to the others through `locks`."""

    def __init__(self, locks: HostLocks) -> None:
        self._locks = locks
        self._mutex = threading.Lock()  # held for microseconds: event loops take it
        self._counts: Counter[str] = Counter()

    def add(self, hashes: Iterable[str]) -> None:
        """Keep these blobs, present or to come, from being evicted by any process."""
        with self._mutex, disk_errors(CACHE):
            for sha256 in hashes:
                if not self._counts[sha256]:
                    self._locks.use(sha256)
                self._counts[sha256] += 1

    def remove(self, hashes: Iterable[str]) -> None:
        """Undo one `add` of each; ValueError if there was none."""
        with self._mutex, disk_errors(CACHE):
            for sha256 in hashes:
                if not self._counts[sha256]:
                    raise ValueError(f"blob {sha256[:12]} is not pinned. This is a bug.")
                self._counts[sha256] -= 1
                if not self._counts[sha256]:
                    del self._counts[sha256]
                    self._locks.end_use(sha256)

    def evict(
        self,
        by_last_use: Sequence[CachedFile],
        excess: int,
        set_aside: Callable[[str], Path],
    ) -> list[Path] | int:
        """Set aside the least recently used until `excess` bytes may go. If too few may, nothing is
        touched: by how many bytes they are too few. No blob can be pinned between the choice and
        the eviction."""
        with self._mutex:
            victims = choose_victims(by_last_use, excess, self._may_evict)
            try:
                if (short := excess - sum(victim.size for victim in victims)) > 0:
                    return short
                return [set_aside(victim.name) for victim in victims]
            finally:
                for victim in victims:
                    self._locks.end_use(victim.name)

    def _may_evict(self, sha256: str) -> bool:
        return not self._counts[sha256] and self._locks.try_evict(sha256)


def choose_victims(
    by_last_use: Sequence[CachedFile], excess: int, may_evict: Callable[[str], bool]
) -> list[CachedFile]:
    """The first of `by_last_use` that may go, until `excess` bytes are covered or none is left.

    `may_evict` is asked only while more is needed, as a yes may take a lock.
    """
    victims: list[CachedFile] = []
    for file in by_last_use:
        if excess <= 0:
            break
        if may_evict(file.name):
            victims.append(file)
            excess -= file.size
    return victims
