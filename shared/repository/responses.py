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
_MESSAGE = re.compile(rb"<Message>([^<]{1,200})</Message>")
_DAMAGED = {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch"}
_EXPIRED = {"ExpiredToken", "ExpiredPresignRequest", "TokenRefreshRequired", "RequestExpired"}
_REASONS = {
    "RequestTimeTooSkewed": "the clock of this machine differs too much from the store's",
    "RequestNotReadyYet": "the clock of this machine is ahead of the store's",
    "SignatureDoesNotMatch": "the secret key does not belong to the access key, or a proxy "
    "changes requests",
    "InvalidAccessKeyId": "the store does not know the access key",
    "InvalidToken": "the session token does not belong to the access key",
}
# Stores say no more than "access denied" to these two.
_OPTIONS = (
    "a bucket whose requesters pay needs S3_REQUESTER_PAYS=1, and one that is part of the host "
    "name S3_ADDRESSING_STYLE=virtual"
)
# Calls of which the permission has another name.
_ACTIONS = {
    "ListObjectsV2": "ListBucket",
    "HeadObject": "GetObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
}


def error_code(body: bytes) -> tuple[str, str]:
    """S3's own code and message out of an XML error body; "" for what it does not have."""
    code, message = _CODE.search(body), _MESSAGE.search(body)
    said = message[1].decode(errors="replace") if message else ""
    return (code[1].decode() if code else ""), said


def is_transient(status: int) -> bool:
    """Whether the same request may succeed a moment later."""
    return status >= 500 or status in (408, 429)


def is_expired(code: str, message: str) -> bool:
    """Whether the store refuses credentials, or a signature, for their age."""
    return code in _EXPIRED or (code == "AccessDenied" and "has expired" in message)


def _refused(what: str, shown: str, code: str, operation: str) -> RepositoryError:
    if code == "InvalidObjectState":
        return RepositoryError(f"{what}: it is archived, and must be restored first ({shown})")
    if code in _REASONS:
        return Forbidden(f"{what}: {_REASONS[code]} ({shown})")
    action = _ACTIONS.get(operation, operation)
    return Forbidden(f"{what}: the store refused the credentials s3:{action} ({shown}); {_OPTIONS}")


def from_status(
    what: str, status: int, code: str, message: str = "", *, operation: str = "GetObject"
) -> RepositoryError:
    """The error about `what` for an HTTP status and S3's own error code and message ("" if
    unknown), after a call of `operation`."""
    shown = f"{status} {code}" if code and code != str(status) else str(status)
    if is_expired(code, message):
        return Forbidden(f"{what}: the credentials have expired ({shown})")
    if code in _REASONS or status in (401, 403):
        return _refused(what, shown, code, operation)
    if code == "NoSuchBucket":
        return BlobMissing(f"{what}: the bucket does not exist")
    if status == 404:
        return BlobMissing(f"{what}: not in the repository")
    if code in _DAMAGED:
        return Corrupt(f"{what}: damaged on its way to the store ({shown})")
    if status == 412:
        return ChangedMeanwhile(f"{what}: changed while it was read")
    if status == 416:
        return Corrupt(f"{what}: holds fewer bytes than the manifest says")
    if is_transient(status):
        return StoreUnavailable(f"{what}: the store failed ({shown})")
    if 300 <= status < 400:
        return RepositoryError(
            f"{what}: the store redirects ({shown}); check region, endpoint and S3_ADDRESSING_STYLE"
        )
    return RepositoryError(f"{what}: the store answered {shown}")
