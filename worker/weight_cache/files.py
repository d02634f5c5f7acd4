"""The blob cache's folder, and which of its files can be trusted.

    <root>/sha256/<hash>            a blob: mode 0600 until it is known to be on the disk, then 0400
    <root>/partial/<hash>.<random>  one that is being fetched, at its full size; or being evicted
    <root>/locks                    see pins

A name under sha256/ appears by rename, after its bytes were verified. Mode 0400 says that a power
cut cannot undo them: flushing takes as long as a third of a download, so it happens after a load
and not in it. A blob of any other mode is hashed before a process that did not verify it uses it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from shared.errors import Corrupt
from shared.manifest import FileEntry
from shared.repository.disk import disk_errors, sha256_of, sync_folder

CACHE = "blob cache"
_ON_DISK = 0o400
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, order=True)
class CachedFile:
    """A file as a scan found it; sorts by last use, oldest first."""

    last_used_ns: int
    name: str
    size: int


def scan(folder: Path) -> list[CachedFile]:
    """All files of `folder`; those that vanish meanwhile are left out."""
    found = []
    with os.scandir(folder) as files:
        for file in files:
            try:
                status = file.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # evicted or committed while we read
            found.append(CachedFile(status.st_mtime_ns, file.name, status.st_size))
    return found


class CacheFiles:
    """The complete blobs of one root. All methods block; all may be called from any thread."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = root / "sha256"
        self.partial = root / "partial"
        self._verified: set[str] = set()  # by this process
        with disk_errors(CACHE):
            for folder in (self.blobs, self.partial):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, sha256: str) -> Path:
        """Where the blob lies, or will."""
        return self.blobs / sha256

    def missing(self, entries: Iterable[FileEntry]) -> list[FileEntry]:
        """Those not on disk; the others count as used now. Corrupt if an entry has a wrong size."""
        with disk_errors(CACHE):
            return [entry for entry in entries if not self._find(entry)]

    def accept(self, partial: Path, sha256: str) -> None:
        """The bytes at `partial` were verified: give them their name."""
        with disk_errors(CACHE):
            partial.rename(self.path(sha256))
        self._verified.add(sha256)

    def set_aside(self, sha256: str, aside: Path) -> None:
        """Take a blob's name away, which is quick; removing the bytes of a big file is not."""
        self.path(sha256).rename(aside)
        self._verified.discard(sha256)

    def seal(self, hashes: Iterable[str]) -> None:
        """Flush verified blobs to the disk, then mark them so."""
        try:
            flushed = [sha256 for sha256 in hashes if self._flush(self.path(sha256))]
            sync_folder(self.blobs)
            for sha256 in flushed:
                with suppress(FileNotFoundError):
                    self.path(sha256).chmod(_ON_DISK)
        except OSError as error:
            _LOG.warning("fetched blobs are not yet safe from a power cut: %s", error)

    def _flush(self, path: Path) -> bool:
        """False if the blob was evicted meanwhile."""
        try:
            with path.open("rb") as file:
                os.fsync(file.fileno())
        except FileNotFoundError:
            return False
        return True

    def _find(self, entry: FileEntry) -> bool:
        path = self.path(entry.sha256)
        try:
            found = path.stat()
            trusted = found.st_mode & 0o777 == _ON_DISK or entry.sha256 in self._verified
            if not (trusted and found.st_size == entry.size) and not self._recheck(entry, path):
                return False
            os.utime(path)
        except FileNotFoundError:
            return False
        return True

    def _recheck(self, entry: FileEntry, path: Path) -> bool:
        """Hash a blob that is in doubt; a bad one is removed, so that it is fetched again."""
        found, size = sha256_of(path)
        if found != entry.sha256:
            self._verified.discard(entry.sha256)
            path.unlink(missing_ok=True)
            return False
        if size != entry.size:
            raise Corrupt(
                f"file {entry.name!r}: its blob holds {size} bytes, the manifest says {entry.size}"
            )
        self._verified.add(entry.sha256)
        self.seal([entry.sha256])
        return True
