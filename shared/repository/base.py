"""The interface of a model repository: its calls, its layout, its sources of bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from shared.errors import InvalidInput, RepositoryError, StoreUnavailable
from shared.manifest import SHA256
from shared.names import MAX_VERSION, check_model_name

MANIFEST = "manifest.json"
MANIFEST_PATH = re.compile(r"([1-9][0-9]{0,8})/manifest\.json")  # in the folder of a model
BLOBS = "blobs/sha256"
INDEX = "_index"  # no model can have this name; see `index.py`


@dataclass(frozen=True)
class FileSource:
    """A blob that is a local file. It may change under the reader, so a reader copies it."""

    path: Path


@dataclass(frozen=True)
class UrlSource:
    """A blob behind a signed GET URL. The URL is a secret for as long as it is valid.

    The ETag is taken from the first answer and pinned from then on: a HEAD before it would cost
    a round trip for each blob and could not rule out a change either.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)  # that the signature covers
    ca_file: str | None = None  # whose certificates are trusted; None: the system's
    sign_again: Callable[[], str] | None = None  # gives a new URL, once this is refused; blocks


BlobSource = FileSource | UrlSource


class Listed(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A model of the repository and its versions, ascending. `error`: why it, or one of its
    versions, cannot be read; such a version is left out of `versions`. `required`: by version, as
    far as the index knows, whether its manifest wants copies without a request; not compared.

    (A gateway keeps one for each model: the collector of garbage need not look at them.)
    """

    name: str
    versions: tuple[int, ...]
    error: str = ""
    required: Mapping[int, bool] = {}

    def __eq__(self, other: object) -> bool:
        """Whether the same can be read."""
        if not isinstance(other, Listed):
            return NotImplemented
        return (self.name, self.versions, self.error) == (other.name, other.versions, other.error)

    def __ne__(self, other: object) -> bool:
        """(The base class has one of its own.)"""
        return not self == other


class Note(NamedTuple):
    """A small object of the index. `tag`: changes with its content; `raw`: None if the reader has
    this one."""

    tag: str
    raw: bytes | None


class Notes(Protocol):
    """The objects of the index, by their names in it. RepositoryError. See `index.py`."""

    def read(self, name: str, known: str = "") -> Note:
        """An object, unless its tag is `known`. BlobMissing."""

    def put(self, name: str, raw: bytes) -> None:
        """Write an object, whole, in place of one of that name."""

    def list(self, start: str) -> list[str]:
        """The names that begin with `start`, sorted."""

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""


class Repository(Protocol):
    """A store of model versions. Every call blocks: use `asyncio.to_thread` in a loop.

    Each raises RepositoryError or a subclass, never an error of the library below.
    """

    @property
    def url(self) -> str:
        """The URL that was opened; without secrets."""

    @property
    def notes(self) -> Notes:
        """The index, in which each push and delete is noted."""

    def check(self) -> None:
        """Return if the store can be reached and read, else raise why not."""

    def list_all(self) -> list[Listed]:
        """All models by name: those with a version, and those that cannot be read. What cannot be
        read is in its row and fails no other; an error is raised if nothing can be listed. Reads
        the repository once, however many models it has."""

    def list_models(self) -> list[str]:
        """Names of folders that may be models, sorted; `list_versions` may still be empty."""

    def list_versions(self, model: str) -> list[int]:
        """The versions that have a manifest, ascending; [] if none."""

    def foreign_files(self, model: str) -> list[str]:
        """Some files in the model's folder that are not of ours, relative to it, sorted."""

    def read_manifest(self, model: str, version: int) -> bytes:
        """The manifest's bytes, unparsed; BlobMissing if there is none."""

    def has_blob(self, sha256: str, size: int | None = None) -> bool:
        """Whether the blob is there, and, if `size` is given, holds that many bytes."""

    def put_blob(self, sha256: str, path: Path, on_bytes: Callable[[int], None]) -> None:
        """Store the file at `path` under its hash; Corrupt (and nothing stored) if it has another.

        `on_bytes` gets the bytes sent since its last call.
        """

    def put_manifest(self, model: str, version: int, raw: bytes) -> None:
        """Make the version appear; silent if the same bytes are there, Conflict if others are."""

    def delete_manifest(self, model: str, version: int) -> None:
        """Make the version disappear; BlobMissing if there is none. Its blobs stay: other versions
        may share them, and a worker may be reading them."""

    def blob_sources(self, sha256: str, size: int) -> BlobSource:
        """The source of a blob of `size` bytes."""


def list_one_by_one(repository: Repository) -> list[Listed]:
    """`list_all` with a call for each model."""
    rows = [_list_one(repository, name) for name in repository.list_models()]
    return [row for row in rows if row.versions or row.error]


def _list_one(repository: Repository, name: str) -> Listed:
    try:
        return Listed(name, tuple(repository.list_versions(name)))
    except StoreUnavailable:
        raise  # it would be the same for all others
    except RepositoryError as error:
        return Listed(name, (), error.message)


def is_model_name(name: str) -> bool:
    """Whether a folder of this name can be a model's; others are passed over in listings."""
    try:
        check_model_name(name)
    except InvalidInput:
        return False
    return True


def manifest_key(model: str, version: int) -> str:
    """The manifest's place below the root; InvalidInput for names that could leave the root."""
    if not 1 <= version <= MAX_VERSION:
        raise InvalidInput(
            f"model version {version}: versions are integers from 1 to {MAX_VERSION}"
        )
    return f"{check_model_name(model)}/{version}/{MANIFEST}"


def blob_key(sha256: str) -> str:
    """The blob's place below the root; InvalidInput if `sha256` is not one."""
    if not SHA256.fullmatch(sha256):
        raise InvalidInput(f"blob {sha256[:80]!r}: a sha256 is 64 lower-case hex digits")
    return f"{BLOBS}/{sha256}"
