"""A model repository in an S3 bucket (`s3://bucket/prefix`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from shared.errors import BlobMissing, Conflict, Forbidden
from shared.manifest import MAX_MANIFEST_BYTES
from shared.names import check_model_name
from shared.repository import index
from shared.repository.base import (
    MANIFEST_PATH,
    Listed,
    UrlSource,
    blob_key,
    is_model_name,
    list_one_by_one,
    manifest_key,
)
from shared.repository.s3_client import PAYER, Connection, s3_errors
from shared.repository.s3_listing import list_by_keys
from shared.repository.s3_notes import S3Notes
from shared.repository.s3_upload import upload
from shared.repository.url import RepositoryUrl

# Retries use the same URL; credentials of a role may end sooner, and then it is signed again.
SIGNED_FOR_S = 6 * 3600


class S3Repository:
    """See `base.Repository`. One boto3 client at a time, shared by all threads."""

    def __init__(self, connection: Connection, bucket: str, prefix: str) -> None:
        self._connection = connection
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self.notes = S3Notes(connection, bucket, self._prefix)

    @property
    def url(self) -> str:
        """`s3://bucket/prefix`."""
        return str(RepositoryUrl(self._bucket, self._prefix.removesuffix("/")))

    def check(self) -> None:
        """List one key: shows that bucket, credentials and the right to list are there."""
        self._connection.ask(
            "model repository",
            lambda client: client.list_objects_v2(
                Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1
            ),
        )

    def list_all(self) -> list[Listed]:
        """From the keys below the prefix. A policy may forbid to list them all, but not those of
        some models: then each is listed."""
        try:
            return self._connection.ask(
                "model repository",
                lambda client: list_by_keys(client, self._bucket, self._prefix),
            )
        except Forbidden:
            return list_one_by_one(self)

    def list_models(self) -> list[str]:
        """First path segments below the prefix that a model could be called."""
        found: list[str] = []
        for page in self._pages("model repository", self._prefix, Delimiter="/"):
            folders = [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
            found += [folder[len(self._prefix) : -1] for folder in folders]
        return sorted(filter(is_model_name, found))

    def list_versions(self, model: str) -> list[int]:
        """Versions that hold a manifest; listed by key, so a half-written one does not count."""
        start = f"{self._prefix}{check_model_name(model)}/"
        found: list[int] = []
        for page in self._pages(f"versions of {model}", start):
            keys = [entry["Key"][len(start) :] for entry in page.get("Contents", [])]
            found += [int(match[1]) for key in keys if (match := MANIFEST_PATH.fullmatch(key))]
        return sorted(found)

    def foreign_files(self, model: str) -> list[str]:
        """Of the first thousand keys."""
        start = f"{self._prefix}{check_model_name(model)}/"
        page = self._connection.ask(
            f"files of {model}",
            lambda client: client.list_objects_v2(Bucket=self._bucket, Prefix=start),
        )
        keys = [entry["Key"][len(start) :] for entry in page.get("Contents", [])]
        return sorted(key for key in keys if key and not MANIFEST_PATH.fullmatch(key))

    def read_manifest(self, model: str, version: int) -> bytes:
        """At most the allowed bytes of a manifest and one more, which `parse` will refuse."""
        where = self._object(manifest_key(model, version))

        def read(client: Any) -> bytes:
            with client.get_object(**where)["Body"] as body:
                raw: bytes = body.read(MAX_MANIFEST_BYTES + 1)
            return raw

        return self._connection.ask(f"manifest of {model} version {version}", read)

    def has_blob(self, sha256: str, size: int | None = None) -> bool:
        """Whether an object of that name, and size if given, is there."""
        try:
            found = self._blob_size(sha256)
        except BlobMissing:
            return False
        return size is None or found == size

    def put_blob(self, sha256: str, path: Path, on_bytes: Callable[[int], None]) -> None:
        """Upload, in parts if it is big; the object appears only when all of it was verified."""
        client = self._connection.client
        upload(client, self._bucket, self._key(blob_key(sha256)), path, sha256, on_bytes)

    def put_manifest(self, model: str, version: int, raw: bytes) -> None:
        """Put an object only if there is none.

        Looks first, because some stores ignore If-None-Match; asks for it all the same, because
        another publisher may come between.
        """
        where = self._object(manifest_key(model, version))
        try:
            self._same_or_conflict(model, version, raw)
        except BlobMissing:
            put = self._connection.ask(
                f"manifest of {model} version {version}",
                lambda client: _put_if_absent(client, where, raw),
            )
            if not put:
                self._same_or_conflict(model, version, raw)
        index.note(self.notes, index.pushed(model, version, raw))

    def delete_manifest(self, model: str, version: int) -> None:
        """Checks first: S3 does not report a missing object."""
        where = self._object(manifest_key(model, version))

        def delete(client: Any) -> None:
            client.head_object(**where)
            client.delete_object(**where)

        self._connection.ask(f"manifest of {model} version {version}", delete)
        index.note(self.notes, index.Change(index.DELETED, model, version))

    def blob_sources(self, sha256: str, size: int) -> UrlSource:
        """A GET URL, signed locally; the reader compares `size` with the first answer. It signs
        again if the credentials, or the signature, expire before it is through."""
        signed = Signed(self._connection, self._object(blob_key(sha256)), sha256)
        paid = self._connection.options.requester_pays
        return UrlSource(signed(), PAYER if paid else {}, self._connection.ca_file, signed)

    def _same_or_conflict(self, model: str, version: int, raw: bytes) -> None:
        if self.read_manifest(model, version) != raw:
            raise Conflict(f"{model} version {version}: published before with other content")

    def _blob_size(self, sha256: str) -> int:
        where = self._object(blob_key(sha256))
        size: int = self._connection.ask(
            f"blob {sha256[:12]}", lambda client: client.head_object(**where)["ContentLength"]
        )
        return size

    def _pages(self, what: str, prefix: str, **options: str) -> list[dict[str, Any]]:
        def read(client: Any) -> list[dict[str, Any]]:
            paginator = client.get_paginator("list_objects_v2")
            return list(paginator.paginate(Bucket=self._bucket, Prefix=prefix, **options))

        return self._connection.ask(what, read)

    def _object(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._key(key)}

    def _key(self, key: str) -> str:
        return self._prefix + key


class Signed:
    """Signs the GET URL of an object; each time with the credentials that are set by then."""

    def __init__(self, connection: Connection, where: dict[str, str], sha256: str) -> None:
        self._connection = connection
        self._where = where
        self._what = f"blob {sha256[:12]}"
        self._client: Any = None  # that signed the last one

    def __call__(self) -> str:
        """A URL that is valid for SIGNED_FOR_S, or as long as the credentials. Blocks."""
        if self._client is not None:
            self._connection.renew(self._client)
        self._client = self._connection.client
        with s3_errors(self._what):
            url: str = self._client.generate_presigned_url(
                "get_object", Params=self._where, ExpiresIn=SIGNED_FOR_S
            )
        return url


def _put_if_absent(client: Any, where: dict[str, str], raw: bytes) -> bool:
    """False if something is there by now."""
    try:
        client.put_object(**where, Body=raw, IfNoneMatch="*", ContentType="application/json")
    except ClientError as error:
        # 412: it is there. 409: another conditional put is under way.
        if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (409, 412):
            raise
        return False
    return True
