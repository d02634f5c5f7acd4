"""The objects of the index in a folder: small files, replaced by a rename."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from shared.repository.base import INDEX, Note
from shared.repository.disk import disk_errors
from shared.repository.index import MAX_BASE_BYTES
from shared.repository.naming import partial_in

_WHAT = "index of the repository"


class FolderNotes:
    """See `base.Repository`: its calls about notes. `check_there()` raises StoreUnavailable if the
    repository is gone: nothing is written where it was then."""

    def __init__(self, root: Path, partials: Path, check_there: Callable[[], None]) -> None:
        self._folder = root / INDEX
        self._partials = partials
        self._check_there = check_there

    def read(self, name: str, known: str = "") -> Note:
        """Each file of a name is another one than the last, or has another time."""
        with disk_errors(_WHAT), (self._folder / name).open("rb") as file:
            found = os.fstat(file.fileno())
            tag = f"{found.st_ino}-{found.st_mtime_ns}-{found.st_size}"
            return Note(tag, None if tag == known else file.read(MAX_BASE_BYTES))

    def put(self, name: str, raw: bytes) -> None:
        """Written beside, then renamed. Not flushed: what a power cut takes, a listing finds."""
        target = self._folder / name
        self._check_there()
        with partial_in(self._partials) as partial, disk_errors(_WHAT):
            partial.write_bytes(raw)
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.rename(target)

    def list(self, start: str) -> list[str]:
        """Of the one folder that `start` names."""
        folder, _, begin = start.rpartition("/")
        with disk_errors(_WHAT):
            if not (self._folder / folder).is_dir():
                return []
            names = [entry.name for entry in os.scandir(self._folder / folder)]
        return sorted(f"{folder}/{name}" for name in names if name.startswith(begin))

    def delete(self, name: str) -> None:
        """Unlink it."""
        with disk_errors(_WHAT):
            (self._folder / name).unlink(missing_ok=True)
