"""From a URL to a repository."""

from __future__ import annotations

from pathlib import Path

from shared.repository.base import Repository
from shared.repository.folder import FolderRepository
from shared.repository.url import parse


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
    place = parse(url)
    if not place.bucket:
        return FolderRepository(Path(place.path))
    from shared.repository.s3 import S3Repository  # boto3 takes 0.3 s to import
    from shared.repository.s3_client import make_client

    client = make_client(endpoint_url, region, access_key, secret_key)
    return S3Repository(client, place.bucket, place.path)
