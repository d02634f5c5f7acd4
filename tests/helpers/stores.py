"""What the repository tests publish, and where: real S3 servers and folders."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import RepositoryError
from shared.manifest import FileEntry, Manifest, TensorSpec
from shared.repository import Repository, open_repository
from shared.repository.s3_client import make_client
from worker.weight_cache.cache import BlobCache

REGION = "us-east-1"


@dataclass(frozen=True)
class Store:
    """An S3 server with one bucket."""

    endpoint_url: str
    access_key: str
    secret_key: str
    bucket: str

    def repository(self, prefix: str, endpoint_url: str | None = None) -> Repository:
        """A repository below `prefix`, reached directly or through a proxy at `endpoint_url`."""
        return open_repository(
            f"s3://{self.bucket}/{prefix}",
            endpoint_url=endpoint_url or self.endpoint_url,
            region=REGION,
            access_key=self.access_key,
            secret_key=self.secret_key,
        )

    def client(self) -> Any:
        """A plain boto3 client, to do behind the repository's back what others might do."""
        return make_client(self.endpoint_url, REGION, self.access_key, self.secret_key)


def manifest(name: str = "tabby", version: int = 1, **changes: Any) -> Manifest:
    """A valid manifest whose files `publish` fills in."""
    fields: dict[str, Any] = {
        "name": name,
        "version": version,
        "platform": "onnxruntime_onnx",
        "inputs": [TensorSpec("x", "FP32", [-1, 4])],
        "outputs": [TensorSpec("y", "FP32", [-1, 2])],
        "files": [],
    }
    return Manifest(**(fields | changes))


def written(folder: Path, sizes: dict[str, int]) -> dict[str, Path]:
    """Files of random bytes: name -> path."""
    paths = {}
    for name, size in sizes.items():
        path = folder / "to-publish" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
        paths[name] = path
    return paths


def entry_of(path: Path, name: str = "model.onnx", **changes: Any) -> FileEntry:
    """The manifest's entry for a local file, with what a test wants it to lie about."""
    raw = path.read_bytes()
    fields: dict[str, Any] = {
        "name": name,
        "sha256": hashlib.sha256(raw).hexdigest(),
        "size": len(raw),
    }
    return FileEntry(**(fields | changes))


def stored(repository: Repository, tmp_path: Path, sizes: dict[str, int]) -> list[FileEntry]:
    """Blobs of these sizes in the repository, as a manifest would name them. Blocks."""
    entries = []
    for name, path in written(tmp_path, sizes).items():
        entries.append(entry_of(path, name))
        repository.put_blob(entries[-1].sha256, path, ignore)
    return entries


async def refused(
    cache: BlobCache, repository: Repository, entry: FileEntry, error: type[RepositoryError]
) -> str:
    """Check that `ensure` fails with `error` and leaves nothing on the disk; its message."""
    try:
        await cache.ensure(repository, [entry])
    except RepositoryError as caught:
        assert type(caught) is error
        assert cache.used_bytes == 0
        return caught.message
    raise AssertionError(f"nothing was raised, expected {error.__name__}")


def ignore(count: int) -> None:
    """An `on_bytes` for those who do not ask."""
