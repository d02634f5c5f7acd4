"""The disk space of the blob cache: reserved for what is fetched, within a budget, by evicting.

The budget holds for the root, not for a process: what another process has reserved counts too,
since a reservation is a file of the blob's full size.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from shared.errors import DiskFull
from shared.manifest import SHA256, FileEntry
from shared.repository.disk import disk_errors
from worker.weight_cache.files import CACHE, CacheFiles, remove, scan
from worker.weight_cache.pins import HostLocks, Pins

Budget = Callable[[int], int]  # the bytes that may be used, given those that are used now


class CacheFull(DiskFull):
    """Too few of the blobs may be evicted, by `short` bytes: the others are pinned, since loaded
    models map them, or loads need them."""

    def __init__(self, message: str, short: int) -> None:
        super().__init__(message)
        self.short = short


@dataclass(frozen=True)
class Partial:
    """A reserved place for one blob: a file of its full size, open for reading and writing."""

    entry: FileEntry
    path: Path
    fd: int


class CacheSpace:
    """Reserves space. All methods block; all may be called from any thread."""

    def __init__(self, files: CacheFiles, pins: Pins, locks: HostLocks, budget: Budget) -> None:
        self._files = files
        self._pins = pins
        self._locks = locks
        self._budget = budget
        self._counting = (
            threading.Lock()
        )  # the host's ledger lock does not exclude threads of this process
        self._open: set[Path] = set()
        self._remove_leftovers()

    def used_bytes(self) -> int:
        """Bytes of all processes' blobs and partials under the root."""
        with disk_errors(CACHE):
            found = (*scan(self._files.blobs), *scan(self._files.partial))
        return sum(file.size for file in found)

    def reserve(self, entries: Sequence[FileEntry]) -> list[Partial]:
        """Reserve space for those of `entries` that no other process fetches, or has fetched by
        now. All or none: DiskFull, and nothing is evicted, if they do not all fit."""
        with disk_errors(CACHE), self._ledger():
            ours = [entry for entry in entries if self._may_fetch(entry.sha256)]
            made: list[Partial] = []
            try:
                self._free_space(sum(entry.size for entry in ours))
                for entry in ours:
                    made.append(self._make_partial(entry))
            except BaseException:
                for partial in made:
                    self.abandon(partial)
                for entry in ours[len(made) :]:
                    self._locks.end_fetch(entry.sha256)
                raise
            return made

    def commit(self, partial: Partial) -> None:
        """The partial's bytes were verified: it becomes the blob."""
        self._files.accept(partial.path, partial.entry.sha256)
        self.abandon(partial)

    def abandon(self, partial: Partial) -> None:
        """Remove a partial and its bytes on disk; may be called twice."""
        if partial.path not in self._open:
            return
        self._open.remove(partial.path)
        with suppress(OSError):  # often called while an error is handled; left to the next start
            os.close(partial.fd)
        with suppress(OSError):
            partial.path.unlink(missing_ok=True)
        self._locks.end_fetch(partial.entry.sha256)

    def _may_fetch(self, sha256: str) -> bool:
        if not self._locks.try_fetch(sha256):
            return False
        if self._files.path(sha256).exists():  # another process finished after we looked
            self._locks.end_fetch(sha256)
            return False
        return True

    def _make_partial(self, entry: FileEntry) -> Partial:
        path = self._aside(entry.sha256)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._open.add(path)
        os.ftruncate(fd, entry.size)  # counted from now on; its blocks are allocated by the fetch
        return Partial(entry, path, fd)

    def _free_space(self, incoming: int) -> None:
        blobs = sorted(scan(self._files.blobs))
        used = sum(file.size for file in (*blobs, *scan(self._files.partial)))
        budget = self._budget(used)
        excess = used + incoming - budget
        if excess <= 0:
            return
        evicted = self._pins.evict(blobs, excess, self._set_aside)
        if isinstance(evicted, int):
            raise CacheFull(
                f"{CACHE}: {incoming} bytes do not fit: {used} of {budget} bytes are in use, "
                "and too few of them may be evicted",
                evicted,
            )
        for path in evicted:
            remove(path)

    def _set_aside(self, sha256: str) -> Path:
        aside = self._aside(sha256)
        self._files.set_aside(sha256, aside)
        return aside

    def _aside(self, sha256: str) -> Path:
        return self._files.partial / f"{sha256}.{secrets.token_hex(8)}"

    def _remove_leftovers(self) -> None:
        """Remove partials of processes that died; those of living ones are locked."""
        with disk_errors(CACHE):
            for file in scan(self._files.partial):
                sha256 = file.name.partition(".")[0]
                if SHA256.fullmatch(sha256) and self._locks.try_fetch(sha256):
                    remove(self._files.partial / file.name)
                    self._locks.end_fetch(sha256)

    @contextmanager
    def _ledger(self) -> Iterator[None]:
        with self._counting:
            self._locks.lock_ledger()
            try:
                yield
            finally:
                self._locks.unlock_ledger()
