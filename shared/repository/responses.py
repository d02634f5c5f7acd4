"""Errors of S3 answers in our own types; shared by boto3's calls and ours."""

from __future__ import annotations

import re

from shared.errors import (
    BlobMissing,
    ChangedMeanwhile,
    Corrupt,
    Forbidden,
    RepositoryError,
    StoreUnavailable,
)

_CODE = re.compile(rb"<Code>(\w{1,64})</Code>")
_DAMAGED = {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch"}


def error_code(body: bytes) -> str:
    """S3's own code out of an XML error body; "" if it has none."""
    found = _CODE.search(body)
    return found[1].decode() if found else ""


def is_transient(status: int) -> bool:
    """Whether the same request may succeed a moment later."""
    return status >= 500 or status in (408, 429)


def from_status(what: str, status: int, code: str) -> RepositoryError:
    """The error about `what` for an HTTP status and S3's own error code ("" if unknown)."""
    shown = f"{status} {code}".strip()
    if code == "NoSuchBucket":
        return BlobMissing(f"{what}: the bucket does not exist")
    if status == 404:
        return BlobMissing(f"{what}: not in the repository")
    if status in (401, 403):
        return Forbidden(f"{what}: the store refused the credentials ({shown})")
    if code in _DAMAGED:
        return Corrupt(f"{what}: damaged on its way to the store ({shown})")
    if status == 412:
        return ChangedMeanwhile(f"{what}: changed while it was read")
    if status == 416:
        return Corrupt(f"{what}: holds fewer bytes than the manifest says")
    if is_transient(status):
        return StoreUnavailable(f"{what}: the store failed ({shown})")
    if 300 <= status < 400:
        return RepositoryError(f"{what}: the store redirects ({shown}); check region and endpoint")
    return RepositoryError(f"{what}: the store answered {shown}")
