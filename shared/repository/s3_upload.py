"""Putting one file into S3 under its hash, so that it appears whole and right or not at all.

Not boto3's own upload manager: that reads parts of the file in any order, so it cannot check
the hash of the bytes sent before the object appears.
"""

from __future__ import annotations

import base64
import hashlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import Corrupt
from shared.repository.disk import disk_errors
from shared.repository.s3_client import s3_errors

PART_BYTES = 16 << 20
_MAX_PARTS = 9_000  # S3 allows 10,000
_AT_ONCE = 4  # parts under way; with the one being read, (4 + 1) x part bytes of memory


def upload(
    client: Any,
    bucket: str,
    key: str,
    path: Path,
    sha256: str,
    on_bytes: Callable[[int], None],
    part_bytes: int = PART_BYTES,
) -> None:
    """Store the file at `path` as `key`; Corrupt, and nothing stored, if its hash is not `sha256`.

    `on_bytes` gets the bytes of each part once the store has it.
    """
    what = f"blob {sha256[:12]}"
    with s3_errors(what), disk_errors(f"{what}: the file to publish"), path.open("rb") as file:
        size = path.stat().st_size
        if size <= part_bytes:
            _put_whole(client, bucket, key, file.read(), sha256)
            on_bytes(size)
        else:
            step = max(part_bytes, -(-size // _MAX_PARTS))
            _MultipartUpload(client, bucket, key, on_bytes).run(file, sha256, step)


def _put_whole(client: Any, bucket: str, key: str, body: bytes, sha256: str) -> None:
    digest = hashlib.sha256(body)
    _check(digest.hexdigest(), sha256)
    checksum = base64.b64encode(digest.digest()).decode()
    client.put_object(Bucket=bucket, Key=key, Body=body, ChecksumSHA256=checksum)


def _check(found: str, sha256: str) -> None:
    if found != sha256:
        raise Corrupt(f"blob {sha256[:12]}: the file changed while it was published")


class _MultipartUpload:
    """Reads and hashes in order, sends parts at once, completes only if the hash is right."""

    def __init__(self, client: Any, bucket: str, key: str, on_bytes: Callable[[int], None]) -> None:
        self._client = client
        self._object = {"Bucket": bucket, "Key": key}
        self._on_bytes = on_bytes
        self._parts: list[dict[str, Any]] = []

    def run(self, file: BinaryIO, sha256: str, part_bytes: int) -> None:
        """Send all of `file`; on any error the parts are deleted from the store."""
        self._object["UploadId"] = self._client.create_multipart_upload(**self._object)["UploadId"]
        try:
            _check(self._send_all(file, part_bytes), sha256)
            self._client.complete_multipart_upload(
                **self._object, MultipartUpload={"Parts": self._parts}
            )
        except BaseException:  # KeyboardInterrupt too: parts left behind cost money for ever
            with suppress(ClientError, BotoCoreError):  # the first error is the one to report
                self._client.abort_multipart_upload(**self._object)
            raise

    def _send_all(self, file: BinaryIO, part_bytes: int) -> str:
        """Hex sha256 of what was sent."""
        hasher = hashlib.sha256()
        under_way: deque[Future[dict[str, Any]]] = deque()
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="upload") as pool:
            try:
                number = 0
                while body := file.read(part_bytes):
                    hasher.update(body)
                    number += 1
                    under_way.append(pool.submit(self._send, number, body))
                    if len(under_way) > _AT_ONCE:
                        self._finish(under_way.popleft())
                while under_way:
                    self._finish(under_way.popleft())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return hasher.hexdigest()

    def _send(self, number: int, body: bytes) -> dict[str, Any]:
        answer = self._client.upload_part(**self._object, PartNumber=number, Body=body)
        sums = {name: answer[name] for name in answer if name.startswith("Checksum")}
        sums.pop("ChecksumType", None)
        return {"PartNumber": number, "ETag": answer["ETag"], "bytes": len(body), **sums}

    def _finish(self, sent: Future[dict[str, Any]]) -> None:
        part = sent.result()
        self._on_bytes(part.pop("bytes"))
        self._parts.append(part)
