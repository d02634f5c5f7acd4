"""The blob cache's folder, and which of its files can be trusted.

    <root>/sha256/<hash>            a blob: mode 0600 until it is known to be on the disk, then 0400
    <root>/partial/<hash>.<random>  one that is being fetched, at its full size; or being evicted
    <root>/locks                    see pins

A name under sha256/ appears by rename, after its bytes were verified. Mode 0400 says that a power
cut cannot undo them: flushing takes as long as a third of a download, so it happens after a load
and not in it. A blob of any other mode is hashed before a process that did not verify it uses it.

The root and its folders must be this user's own, and so must each blob: what another user put there
is removed, never read. A file that holds code is hashed at each use, unless it is still the file
that this process has verified.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from shared.errors import ConfigError, Corrupt
from shared.manifest import FileEntry
from shared.owned_folder import NotOwned, make_owned, open_owned
from shared.platforms import CODE_FILES
from shared.repository.disk import disk_errors, sha256_of_open, sync_folder

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
    found: list[CachedFile] = []
    try:
        opened = os.scandir(folder)
    except FileNotFoundError:
        return found  # the whole folder was deleted
    with opened as files:
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
        self._verified: dict[str, _Identity] = {}  # by this process
        self.make_folders()

    def make_folders(self) -> None:
        """Make those that are not there: they may be deleted while a worker lives."""
        with disk_errors(CACHE):
            for folder in (self.root, self.blobs, self.partial):
                own_folder(folder)

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
            self._remember(sha256)

    def set_aside(self, sha256: str, aside: Path) -> None:
        """Take a blob's name away, which is quick; removing the bytes of a big file is not."""
        self.path(sha256).rename(aside)
        self._verified.pop(sha256, None)

    def seal(self, hashes: Iterable[str]) -> None:
        """Flush verified blobs to the disk, then mark them so."""
        try:
            flushed = [sha256 for sha256 in hashes if self._flush(self.path(sha256))]
            sync_folder(self.blobs)
            for sha256 in flushed:
                with suppress(FileNotFoundError):
                    known = self._is_remembered(sha256, self.path(sha256).lstat())
                    self.path(sha256).chmod(_ON_DISK)
                    if known:
                        self._remember(sha256)
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
            found = path.lstat()
            if not self._may_be_used(entry, found) and not self._recheck(entry, path):
                return False
            known = self._is_remembered(entry.sha256, path.lstat())
            os.utime(path, follow_symlinks=False)
            if known:
                self._remember(entry.sha256)
        except FileNotFoundError:
            return False
        return True

    def _may_be_used(self, entry: FileEntry, found: os.stat_result) -> bool:
        """Whether the blob needs no hashing: this process has verified it, or it is marked and
        holds no code."""
        if found.st_size != entry.size:
            return False
        if self._is_remembered(entry.sha256, found):
            return True
        regular = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
        marked = found.st_mode & 0o777 == _ON_DISK
        return regular and marked and entry.name not in CODE_FILES

    def _recheck(self, entry: FileEntry, path: Path) -> bool:
        """Hash a blob that is in doubt; a bad one, or another user's, is removed, so that it is
        fetched again."""
        found, size = _hash_of_own(path)
        if found != entry.sha256:
            self._verified.pop(entry.sha256, None)
            remove(path)
            return False
        if size != entry.size:
            raise Corrupt(
                f"file {entry.name!r}: its blob holds {size} bytes, the manifest says {entry.size}"
            )
        self._remember(entry.sha256)
        if path.lstat().st_mode & 0o777 != _ON_DISK:
            self.seal([entry.sha256])
        return True

    def _remember(self, sha256: str) -> None:
        """The blob, as it is now, has been verified."""
        with suppress(FileNotFoundError):
            self._verified[sha256] = _identity(self.path(sha256).lstat())

    def _is_remembered(self, sha256: str, found: os.stat_result) -> bool:
        return self._verified.get(sha256) == _identity(found)


def own_folder(path: Path) -> Path:
    """Make a folder of the cache; ConfigError if it is there and not this user's own, or cannot be
    made. A full disk is another OSError: it passes."""
    try:
        return make_owned(path)
    except NotOwned as error:
        raise ConfigError(f"WARMROUTE_DISK_CACHE: {error}") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        why = os.strerror(error.errno or 0)
        raise ConfigError(f"WARMROUTE_DISK_CACHE: {path} cannot be made: {why}") from error


def remove(path: Path) -> None:
    """Remove what has a blob's name, also a folder; nothing may be there."""
    try:
        path.unlink(missing_ok=True)
    except IsADirectoryError:
        shutil.rmtree(path)


_Identity = tuple[int, ...]


def _identity(found: os.stat_result) -> _Identity:
    """Equal while the file is not written to or replaced, and keeps its owner and mode."""
    return (found.st_ino, found.st_uid, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _hash_of_own(path: Path) -> tuple[str, int]:
    """Hex sha256 and bytes of a file of this user's own; '' of anything else."""
    try:
        fd = open_owned(path)
    except NotOwned as error:
        _LOG.warning("a file in the blob cache is not used: %s", error)
        return "", 0
    with os.fdopen(fd, "rb") as file:
        return sha256_of_open(file)
