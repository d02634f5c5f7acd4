"""A model repository in an S3 bucket (`s3://bucket/prefix`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from shared.errors import BlobMissing, Conflict, Forbidden
from shared.manifest import MAX_MANIFEST_BYTES
from shared.names import check_model_name
from shared.repository.base import (
    Listed,
    UrlSource,
    blob_key,
    is_model_name,
    list_one_by_one,
    manifest_key,
)
from shared.repository.s3_client import s3_errors
from shared.repository.s3_listing import VERSION_KEY, list_by_keys
from shared.repository.s3_upload import upload
from shared.repository.url import RepositoryUrl

# Signed once per blob, and retries use the same URL: as long as the slowest download may take.
SIGNED_FOR_S = 6 * 3600


class S3Repository:
    """See `base.Repository`. One boto3 client, shared by all threads."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""

    @property
    def url(self) -> str:
        """`s3://bucket/prefix`."""
        return str(RepositoryUrl(self._bucket, self._prefix.removesuffix("/")))

    def check(self) -> None:
        """List one key: shows that bucket, credentials and the right to list are there."""
        with s3_errors("model repository"):
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)

    def list_all(self) -> list[Listed]:
        """From the keys below the prefix. A policy may forbid to list them all, but not those of
        some models: then each is listed."""
        try:
            return list_by_keys(self._client, self._bucket, self._prefix)
        except Forbidden:
            return list_one_by_one(self)

    def list_models(self) -> list[str]:
        """First path segments below the prefix that a model could be called."""
        found: list[str] = []
        for page in self._pages(self._prefix, Delimiter="/"):
            folders = [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
            found += [folder[len(self._prefix) : -1] for folder in folders]
        return sorted(filter(is_model_name, found))

    def list_versions(self, model: str) -> list[int]:
        """Versions that hold a manifest; listed by key, so a half-written one does not count."""
        start = f"{self._prefix}{check_model_name(model)}/"
        found: list[int] = []
        for page in self._pages(start):
            keys = [entry["Key"][len(start) :] for entry in page.get("Contents", [])]
            found += [int(match[1]) for key in keys if (match := VERSION_KEY.fullmatch(key))]
        return sorted(found)

    def read_manifest(self, model: str, version: int) -> bytes:
        """At most the allowed bytes of a manifest and one more, which `parse` will refuse."""
        key = self._key(manifest_key(model, version))
        with s3_errors(f"manifest of {model} version {version}"):
            body = self._client.get_object(Bucket=self._bucket, Key=key)["Body"]
            with body:
                raw: bytes = body.read(MAX_MANIFEST_BYTES + 1)
        return raw

    def has_blob(self, sha256: str, size: int | None = None) -> bool:
        """Whether an object of that name, and size if given, is there."""
        try:
            found = self._blob_size(sha256)
        except BlobMissing:
            return False
        return size is None or found == size

    def put_blob(self, sha256: str, path: Path, on_bytes: Callable[[int], None]) -> None:
        """Upload, in parts if it is big; the object appears only when all of it was verified."""
        upload(self._client, self._bucket, self._key(blob_key(sha256)), path, sha256, on_bytes)

    def put_manifest(self, model: str, version: int, raw: bytes) -> None:
        """Put an object only if there is none.

        Looks first, because some stores ignore If-None-Match; asks for it all the same, because
        another publisher may come between.
        """
        key = self._key(manifest_key(model, version))
        try:
            self._same_or_conflict(model, version, raw)
        except BlobMissing:
            if not self._put_if_absent(model, version, key, raw):
                self._same_or_conflict(model, version, raw)

    def delete_manifest(self, model: str, version: int) -> None:
        """Checks first: S3 does not report a missing object."""
        key = self._key(manifest_key(model, version))
        with s3_errors(f"manifest of {model} version {version}"):
            self._client.head_object(Bucket=self._bucket, Key=key)
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def blob_sources(self, sha256: str, size: int) -> UrlSource:
        """A GET URL, signed locally; the reader compares `size` with the first answer."""
        with s3_errors(f"blob {sha256[:12]}"):
            url = self._client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self._bucket, "Key": self._key(blob_key(sha256))},
                ExpiresIn=SIGNED_FOR_S,
            )
        return UrlSource(url)

    def _put_if_absent(self, model: str, version: int, key: str, raw: bytes) -> bool:
        """False if something is there by now."""
        with s3_errors(f"manifest of {model} version {version}"):
            try:
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=key,
                    Body=raw,
                    IfNoneMatch="*",
                    ContentType="application/json",
                )
            except ClientError as error:
                # 412: it is there. 409: another conditional put is under way.
                if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (409, 412):
                    raise
                return False
        return True

    def _same_or_conflict(self, model: str, version: int, raw: bytes) -> None:
        if self.read_manifest(model, version) != raw:
            raise Conflict(f"{model} version {version}: published before with other content")

    def _blob_size(self, sha256: str) -> int:
        key = self._key(blob_key(sha256))
        with s3_errors(f"blob {sha256[:12]}"):
            size: int = self._client.head_object(Bucket=self._bucket, Key=key)["ContentLength"]
        return size

    def _pages(self, prefix: str, **options: str) -> list[dict[str, Any]]:
        with s3_errors("model repository"):
            paginator = self._client.get_paginator("list_objects_v2")
            return list(paginator.paginate(Bucket=self._bucket, Prefix=prefix, **options))

    def _key(self, key: str) -> str:
        return self._prefix + key
