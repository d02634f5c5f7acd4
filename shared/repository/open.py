"""From a URL to a repository."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from shared.errors import ConfigError
from shared.repository.base import Repository
from shared.repository.folder import FolderRepository

BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
PREFIX = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")
EXPECTED = "want s3://bucket, s3://bucket/prefix or file:///folder"


def open_repository(
    url: str,
    *,
    endpoint_url: str | None = None,
    region: str | None = None,
    access_key: str | None = None,
    secret_key: str | None = None,
) -> Repository:
    """The repository at `url`; nothing is contacted yet. ConfigError if the URL is not one.

    `endpoint_url` names an S3 store other than AWS. Without `access_key` and `secret_key` the
    credentials are found as botocore finds them (AWS_* variables, profile, instance role).
    """
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ConfigError("model repository URL: credentials do not belong in it, use AWS_*")
    if parts.query or parts.fragment:
        raise ConfigError(f"model repository URL: '?' and '#' mean nothing in it; {EXPECTED}")
    if parts.scheme == "file":
        return _open_folder(url, parts)
    if parts.scheme == "s3":
        from shared.repository.s3 import S3Repository  # boto3 takes 0.3 s to import
        from shared.repository.s3_client import make_client

        bucket, prefix = _bucket_and_prefix(url, parts)
        client = make_client(endpoint_url, region, access_key, secret_key)
        return S3Repository(client, bucket, prefix)
    raise ConfigError(f"model repository URL {url!r}: {EXPECTED}")


def _open_folder(url: str, parts: SplitResult) -> Repository:
    path = Path(unquote(parts.path))
    if parts.netloc not in ("", "localhost") or not path.is_absolute() or path == Path("/"):
        raise ConfigError(f"model repository URL {url!r}: {EXPECTED}")
    return FolderRepository(path)


def _bucket_and_prefix(url: str, parts: SplitResult) -> tuple[str, str]:
    prefix = parts.path.strip("/")
    sane = not prefix or (PREFIX.fullmatch(prefix) and not {".", ".."} & set(prefix.split("/")))
    if not BUCKET.fullmatch(parts.netloc) or not sane:
        raise ConfigError(f"model repository URL {url!r}: {EXPECTED}")
    return parts.netloc, prefix
