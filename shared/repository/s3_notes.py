"""The objects of the index in a bucket: small, and replaced as a whole."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from shared.repository.base import INDEX, Note
from shared.repository.index import MAX_BASE_BYTES
from shared.repository.s3_client import Connection


class S3Notes:
    """See `base.Repository`: its calls about notes."""

    def __init__(self, connection: Connection, bucket: str, prefix: str) -> None:
        self._connection = connection
        self._bucket = bucket
        self._prefix = f"{prefix}{INDEX}/"

    def read(self, name: str, known: str = "") -> Note:
        """One GET, which the store answers without a body if the tag is `known`."""
        where = self._where(name) | ({"IfNoneMatch": known} if known else {})

        def read(client: Any) -> Note:
            try:
                answer = client.get_object(**where)
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] != 304:
                    raise
                return Note(known, None)
            with answer["Body"] as body:
                return Note(answer["ETag"], body.read(MAX_BASE_BYTES))

        return self._connection.ask(f"index of the repository: {name}", read)

    def put(self, name: str, raw: bytes) -> None:
        """One PUT."""
        where = self._where(name)
        self._connection.ask(
            f"index of the repository: {name[:40]}",
            lambda client: client.put_object(**where, Body=raw),
        )

    def list(self, start: str) -> list[str]:
        """A LIST for each thousand."""

        def read(client: Any) -> list[str]:
            pages = client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + start
            )
            return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

        keys = self._connection.ask("index of the repository", read)
        return sorted(key[len(self._prefix) :] for key in keys)

    def delete(self, name: str) -> None:
        """One DELETE."""
        where = self._where(name)
        self._connection.ask(
            "index of the repository", lambda client: client.delete_object(**where)
        )

    def _where(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + name}
