"""A model repository in a local folder (`file:///folder`).

Names come from strangers' manifests and from requests, so every path is resolved and must still
lie inside the root: a symbolic link that leads out of it is refused, not followed.

The folder may lie on a file system that goes and comes back. What is not found while it is gone
was not deleted: the store is away then, which takes no model from anybody.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import (
    BlobMissing,
    Conflict,
    Corrupt,
    Forbidden,
    RepositoryError,
    StoreUnavailable,
)
from shared.manifest import MAX_MANIFEST_BYTES
from shared.names import VERSION, check_model_name
from shared.repository import index
from shared.repository.base import (
    BLOBS,
    MANIFEST,
    MANIFEST_PATH,
    FileSource,
    Listed,
    blob_key,
    is_model_name,
    manifest_key,
)
from shared.repository.disk import copy_hashing, disk_errors, sync_folder
from shared.repository.folder_notes import FolderNotes
from shared.repository.naming import name_if_free, partial_in
from shared.repository.url import RepositoryUrl

PARTIAL = "blobs/partial"
GONE = "model repository: the folder, or what was in it, is gone: is its file system mounted?"
READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # else a pipe would be waited for


class FolderRepository:
    """See `base.Repository`. Safe for several readers and publishers at once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._was_filled = False  # its folder of blobs has been there
        self.notes = FolderNotes(root, root / PARTIAL, self._check_there)

    @property
    def url(self) -> str:
        """`file:///folder`."""
        return str(RepositoryUrl("", str(self._root)))

    def check(self) -> None:
        """RepositoryError unless the folder is there and can be listed."""
        with disk_errors("model repository"):
            if not self._root.is_dir():
                raise BlobMissing("model repository: the folder does not exist")
            next(self._root.iterdir(), None)

    def list_all(self) -> list[Listed]:
        """One look at each folder of a model."""
        rows = [self._list_model(name) for name in self.list_models()]
        return [row for row in rows if row.versions or row.error]

    def list_models(self) -> list[str]:
        """Sub-folders whose name a model could have, and links of such a name that lead nowhere."""
        self._check_there()
        with disk_errors("model repository"):
            names = [path.name for path in self._root.iterdir() if _is_folder(path)]
        return sorted(filter(is_model_name, names))

    def list_versions(self, model: str) -> list[int]:
        """Versions that hold a manifest; a folder without one is a version half-written."""
        return sorted(self._versions(model))

    def foreign_files(self, model: str) -> list[str]:
        """Those in the folder itself and in the folders of its versions."""
        folder = self._inside(check_model_name(model))
        with disk_errors(f"folder of model {model}"):
            found = [*folder.glob("*"), *folder.glob("*/*")]
            files = [str(path.relative_to(folder)) for path in found if path.is_file()]
        return sorted(file for file in files if not MANIFEST_PATH.fullmatch(file))

    def read_manifest(self, model: str, version: int) -> bytes:
        """At most the allowed bytes of a manifest and one more, which `parse` will refuse."""
        path = self._inside(manifest_key(model, version))
        what = f"manifest of {model} version {version}"
        self._check_there()
        with _naming(what), os.fdopen(os.open(path, READ), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Corrupt(f"{what}: is not a plain file")
            return file.read(MAX_MANIFEST_BYTES + 1)

    def has_blob(self, sha256: str, size: int | None = None) -> bool:
        """Whether a plain file of that name, and size if given, is there."""
        try:
            found = self._blob_size(sha256)
        except BlobMissing:
            return False
        return size is None or found == size

    def put_blob(self, sha256: str, path: Path, on_bytes: Callable[[int], None]) -> None:
        """Copy, verify, flush and rename, so that a blob is there whole or not at all."""
        target = self._inside(blob_key(sha256))
        with partial_in(self._inside(PARTIAL)) as partial, disk_errors("model repository"):
            with path.open("rb") as source, partial.open("xb") as copy:
                found = copy_hashing(source.fileno(), copy.fileno(), on_bytes)
                os.fsync(copy.fileno())
            if found != sha256:
                raise Corrupt(f"blob {sha256[:12]}: the file changed while it was published")
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.rename(target)
            sync_folder(target.parent)

    def put_manifest(self, model: str, version: int, raw: bytes) -> None:
        """Looks first: what is there already needs no right to write."""
        target = self._inside(manifest_key(model, version))
        try:
            self._same_or_conflict(model, version, raw)
        except BlobMissing:
            if not self._put_if_absent(target, raw):
                self._same_or_conflict(model, version, raw)
        index.note(self.notes, index.pushed(model, version, raw))

    def delete_manifest(self, model: str, version: int) -> None:
        """Unlink it, and the folders above that are empty then."""
        path = self._inside(manifest_key(model, version))
        with _naming(f"manifest of {model} version {version}"):
            path.unlink()
            sync_folder(path.parent)
        index.note(self.notes, index.Change(index.DELETED, model, version))
        for folder in (path.parent, path.parent.parent):
            try:
                folder.rmdir()
            except OSError:  # the folder has other files, or a publisher has just written one
                return

    def blob_sources(self, sha256: str, size: int) -> FileSource:
        """The blob's file; Corrupt if it does not hold `size` bytes."""
        found = self._blob_size(sha256)
        if found != size:
            raise Corrupt(f"blob {sha256[:12]}: holds {found} bytes, the manifest says {size}")
        return FileSource(self._inside(blob_key(sha256)))

    def _list_model(self, name: str) -> Listed:
        try:
            versions = self._versions(name)
        except RepositoryError as error:
            return Listed(name, (), error.message)
        whole = tuple(sorted(version for version, error in versions.items() if not error))
        return Listed(name, whole, next((text for text in versions.values() if text), ""))

    def _versions(self, model: str) -> dict[int, str]:
        """Version -> why its manifest cannot be read, "" if it can."""
        folder = self._inside(check_model_name(model))
        self._check_there()
        with disk_errors(f"folder of model {model}"):
            is_there, is_link = folder.is_dir(), (self._root / model).is_symlink()
        if not is_there:
            if is_link:
                raise RepositoryError(f"{model}: a symbolic link leads to no folder")
            return {}
        with disk_errors(f"folder of model {model}"):
            found = [path for path in folder.iterdir() if VERSION.fullmatch(path.name)]
            there = [path for path in found if _is_there(path / MANIFEST)]
        return {int(path.name): self._fault(model, path) for path in there}

    def _fault(self, model: str, version: Path) -> str:
        try:
            path = self._inside(manifest_key(model, int(version.name)))
        except RepositoryError as error:
            return error.message
        return "" if path.is_file() else f"{model}/{version.name}: its manifest is not a file"

    def _put_if_absent(self, target: Path, raw: bytes) -> bool:
        """Write a temporary file, then name it; False if there is one of that name by now."""
        with partial_in(self._inside(PARTIAL)) as partial, disk_errors("model repository"):
            with partial.open("xb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            named = name_if_free(partial, target)
            sync_folder(target.parent)
        return named

    def _same_or_conflict(self, model: str, version: int, raw: bytes) -> None:
        if self.read_manifest(model, version) != raw:
            raise Conflict(f"{model} version {version}: published before with other content")

    def _blob_size(self, sha256: str) -> int:
        path = self._inside(blob_key(sha256))
        self._check_there()
        with _naming(f"blob {sha256[:12]}"):
            found = path.stat()
            if not stat.S_ISREG(found.st_mode):
                raise Corrupt(f"blob {sha256[:12]}: is not a plain file")
            return found.st_size

    def _check_there(self) -> None:
        """StoreUnavailable if the repository is gone: nothing here ever removes its blobs."""
        with disk_errors("model repository"):
            is_there, is_filled = self._root.is_dir(), (self._root / BLOBS).is_dir()
        if not is_there or (self._was_filled and not is_filled):
            raise StoreUnavailable(GONE)
        self._was_filled = is_filled

    def _inside(self, key: str) -> Path:
        """The resolved path of `key`, a place below the root; Forbidden if a link leads out."""
        try:
            root = self._root.resolve()
            path = (root / key).resolve()
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
            raise RepositoryError(f"{key}: cannot be resolved") from error
        if not path.is_relative_to(root):
            raise Forbidden(f"{key}: a symbolic link leads out of the repository")
        return path


def _is_folder(path: Path) -> bool:
    """Whether it is a folder, or a link that should be one."""
    return path.is_dir() or (path.is_symlink() and not path.is_file())


def _is_there(manifest: Path) -> bool:
    """Whether a manifest, a link that should be one, or a link on the way to it, is there."""
    return manifest.is_symlink() or manifest.is_file() or _is_dangling(manifest.parent)


def _is_dangling(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """`disk_errors` for one named thing, whose absence is the commonest error."""
    try:
        with disk_errors(what):
            yield
    except BlobMissing as error:
        raise BlobMissing(f"{what}: not in the repository") from error
