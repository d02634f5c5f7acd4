"""From a URL to a repository."""

from __future__ import annotations

from pathlib import Path

from shared.repository.base import Repository
from shared.repository.folder import FolderRepository
from shared.repository.options import S3Options
from shared.repository.url import parse


def open_repository(
    url: str,
    *,
    endpoint_url: str | None = None,
    region: str | None = None,
    access_key: str | None = None,
    secret_key: str | None = None,
    addressing_style: str = "",
    requester_pays: bool = False,
) -> Repository:
    """The repository at `url`; nothing is contacted yet. ConfigError if the URL is not one. The
    others are `S3Options`."""
    place = parse(url)
    options = S3Options(
        endpoint_url, region, access_key, secret_key, addressing_style, requester_pays
    )
    if not place.bucket:
        return FolderRepository(Path(place.path))
    from shared.repository.s3 import S3Repository  # boto3 takes 0.3 s to import
    from shared.repository.s3_client import Connection

    return S3Repository(Connection(options), place.bucket, place.path)
