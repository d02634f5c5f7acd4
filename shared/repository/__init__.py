"""Where models live: `s3://bucket/prefix` or `file:///folder`, the same layout in both.

    <repository>/<model>/<version>/manifest.json     written last, never changed
    <repository>/blobs/sha256/<hash>                 the bytes, stored once however many share them
    <repository>/_index/...                          what was pushed and deleted; see index.py

`open_repository` gives the store, `publish` writes a version to it. boto3 is imported only when
an s3:// URL is opened.
"""

from __future__ import annotations

from shared.repository.base import BlobSource, FileSource, Listed, Repository, UrlSource
from shared.repository.open import open_repository
from shared.repository.publish import PublishResult, publish

__all__ = [
    "BlobSource",
    "FileSource",
    "Listed",
    "PublishResult",
    "Repository",
    "UrlSource",
    "open_repository",
    "publish",
]
