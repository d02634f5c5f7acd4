"""Publishing a version: hash its files, send the blobs that are missing, the manifest last.

Killed at any point, it leaves no half version: blobs without a manifest are just not used yet,
and the next run finds them and sends only the rest.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import msgspec

from shared.errors import BlobMissing, Conflict, InvalidInput, TooLarge
from shared.manifest import DECODER, MAX_MANIFEST_BYTES, FileEntry, Manifest, check
from shared.repository.base import Repository
from shared.repository.disk import disk_errors, sha256_of

_AT_ONCE = 4  # blobs under way: hides the store's latency where a model has many small ones

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all); done includes the bytes that were there already."""


@dataclass(frozen=True)
class PublishResult:
    """What was published, and how many bytes had to travel for it."""

    manifest: Manifest
    bytes_sent: int
    bytes_shared: int
    unchanged: bool = False  # the version was there, with the same content


def publish(
    repository: Repository,
    manifest: Manifest,
    files: Mapping[str, Path],
    progress: Progress | None = None,
) -> PublishResult:
    """Publish `files` (name in the manifest -> local file) as the version that `manifest` names.

    `manifest.files` may be empty and is filled in. Idempotent: the same content again sends
    nothing. Conflict if the version holds other content, InvalidInput for a manifest that no
    reader would accept, RepositoryError if the store fails. Blocks.
    """
    complete = _with_files(manifest, files)
    raw = complete.encode()
    unchanged = _refuse_before_sending(repository, complete, raw)
    paths = {entry.sha256: files[entry.name] for entry in complete.files}
    sizes = {entry.sha256: entry.size for entry in complete.files}
    count = _Count(sum(sizes.values()), progress)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="publish") as pool:
        jobs = [
            pool.submit(_settle, repository, sha, paths[sha], sizes[sha], count) for sha in sizes
        ]
        try:
            for job in as_completed(jobs):
                job.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    repository.put_manifest(complete.name, complete.version, raw)
    return PublishResult(complete, count.sent, count.shared, unchanged)


def _with_files(manifest: Manifest, files: Mapping[str, Path]) -> Manifest:
    entries = []
    for name in sorted(files):
        with disk_errors(f"file {name!r}"):
            digest, size = sha256_of(files[name])
        entries.append(FileEntry(name, digest, size))
    if manifest.files and sorted(manifest.files, key=lambda entry: entry.name) != entries:
        raise InvalidInput("files: the manifest names other files than those given")
    return msgspec.structs.replace(manifest, files=entries)


def _refuse_before_sending(repository: Repository, manifest: Manifest, raw: bytes) -> bool:
    """Whether the same is there already."""
    if not manifest.files:
        raise InvalidInput("files: a version needs at least one")
    try:
        DECODER.decode(raw)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"manifest: {error}") from error
    check(manifest)
    if len(raw) > MAX_MANIFEST_BYTES:
        raise TooLarge(f"manifest: {len(raw)} bytes, over the limit of {MAX_MANIFEST_BYTES}")
    try:
        there = repository.read_manifest(manifest.name, manifest.version)
    except BlobMissing:
        return False
    if there != raw:
        raise Conflict(
            f"{manifest.name} version {manifest.version}: published before with other content"
        )
    return True


def _settle(repository: Repository, sha256: str, path: Path, size: int, count: _Count) -> None:
    """Have one blob in the repository, sending it only if it is not there whole."""
    if repository.has_blob(sha256, size):
        count.add(shared=size)
    else:
        repository.put_blob(sha256, path, lambda sent: count.add(sent=sent))


class _Count:
    """Bytes settled so far, by several threads."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.sent = 0
        self.shared = 0
        self._total = total
        self._progress = progress
        self._lock = threading.Lock()

    def add(self, *, sent: int = 0, shared: int = 0) -> None:
        with self._lock:
            self.sent += sent
            self.shared += shared
            if self._progress:
                self._progress(self.sent + self.shared, self._total)
