"""A model repository in memory, for tests of what is asked of one. Stores no blobs."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from shared.errors import BlobMissing, Forbidden
from shared.manifest import Manifest
from shared.repository.base import BlobSource, Listed, Note


class FakeNotes:
    """An index in memory; empty, unless a test or a gateway writes to it."""

    def __init__(self, asked: Callable[[str], None]) -> None:
        self.kept: dict[str, bytes] = {}
        self._asked = asked

    def read(self, name: str, known: str = "") -> Note:
        self._asked(f"read {name}")
        if name not in self.kept:
            raise BlobMissing(f"no note {name}")
        tag = hashlib.sha256(self.kept[name]).hexdigest()
        return Note(tag, None if tag == known else self.kept[name])

    def put(self, name: str, raw: bytes) -> None:
        self._asked(f"put {name.partition('/')[0]}")
        self.kept[name] = raw

    def list(self, start: str) -> list[str]:
        self._asked(f"list {start}")
        return sorted(name for name in self.kept if name.startswith(start))

    def delete(self, name: str) -> None:
        self.kept.pop(name, None)


class FakeRepository:
    """Manifests by name and version. `calls` counts what was asked; `hold` makes callers wait."""

    url = "file:///models"

    def __init__(self) -> None:
        self.manifests: dict[tuple[str, int], bytes] = {}
        self.raw = b""  # of the manifest that a fixture published
        self.calls: Counter[str] = Counter()
        self.error: Exception | None = None
        self.forbidden: set[str] = set()  # models whose folder must not be read
        self.hold = threading.Event()
        self.hold.set()
        self.inside = 0
        self.most_inside = 0
        self._lock = threading.Lock()
        self.notes = FakeNotes(self._asked)

    def add(self, manifest: Manifest) -> bytes:
        """Publish a version."""
        raw = manifest.encode()
        self.manifests[manifest.name, manifest.version] = raw
        return raw

    def list_all(self) -> list[Listed]:
        self._asked("list_all")
        names = sorted({name for name, _ in self.manifests})
        return [self._row(name) for name in names]

    def list_models(self) -> list[str]:
        self._asked("list_models")
        return sorted({name for name, _ in self.manifests})

    def list_versions(self, model: str) -> list[int]:
        self._asked("list_versions")
        if model in self.forbidden:
            raise Forbidden(self._why(model))
        return self._versions(model)

    def foreign_files(self, model: str) -> list[str]:
        return []

    def read_manifest(self, model: str, version: int) -> bytes:
        self._asked("read_manifest")
        try:
            return self.manifests[model, version]
        except KeyError:
            raise BlobMissing(f"no manifest of {model} version {version}") from None

    def check(self) -> None:
        self._asked("check")

    def has_blob(self, sha256: str, size: int | None = None) -> bool:
        return False

    def put_blob(self, sha256: str, path: Path, on_bytes: Callable[[int], None]) -> None:
        raise NotImplementedError

    def put_manifest(self, model: str, version: int, raw: bytes) -> None:
        self.manifests[model, version] = raw

    def delete_manifest(self, model: str, version: int) -> None:
        del self.manifests[model, version]

    def blob_sources(self, sha256: str, size: int) -> BlobSource:
        raise BlobMissing(f"no blob {sha256}")

    def _row(self, model: str) -> Listed:
        if model in self.forbidden:
            return Listed(model, (), self._why(model))
        return Listed(model, tuple(self._versions(model)))

    def _versions(self, model: str) -> list[int]:
        return sorted(version for name, version in self.manifests if name == model)

    def _why(self, model: str) -> str:
        return f"{model}: a symbolic link leads out of the repository"

    def _asked(self, what: str) -> None:
        with self._lock:
            self.calls[what] += 1
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
        try:
            assert self.hold.wait(20), "nobody let the callers go on"
            if self.error is not None:
                raise self.error
        finally:
            with self._lock:
                self.inside -= 1
