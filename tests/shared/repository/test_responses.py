from __future__ import annotations

import pytest

from shared.errors import (
    BlobMissing,
    ChangedMeanwhile,
    Corrupt,
    Forbidden,
    RepositoryError,
    StoreUnavailable,
)
from shared.repository.responses import error_code, from_status


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (404, "NoSuchKey", BlobMissing),
        (404, "NoSuchBucket", BlobMissing),
        (403, "AccessDenied", Forbidden),
        (401, "", Forbidden),
        (412, "PreconditionFailed", ChangedMeanwhile),
        (416, "InvalidRange", Corrupt),
        (400, "BadDigest", Corrupt),
        (500, "InternalError", StoreUnavailable),
        (503, "SlowDown", StoreUnavailable),
        (429, "", StoreUnavailable),
        (408, "", StoreUnavailable),
        (301, "PermanentRedirect", RepositoryError),
        (400, "InvalidRequest", RepositoryError),
        (204, "", RepositoryError),
    ],
)
def test_each_answer_has_its_error(status: int, code: str, error: type[RepositoryError]) -> None:
    """One clear class for each cause."""
    assert type(from_status("file 'a'", status, code)) is error


@pytest.mark.parametrize(("code", "named"), [("AccessDenied", True), ("InvalidToken", False)])
def test_a_store_that_only_denies_access_may_want_an_option(code: str, named: bool) -> None:
    """Which ones it could be is said, unless the store gives a reason of its own."""
    said = from_status("file 'a'", 403, code).message
    for option in ("S3_REQUESTER_PAYS", "S3_ADDRESSING_STYLE"):
        assert (option in said) is named


@pytest.mark.parametrize(
    ("status", "code", "message", "operation", "said"),
    [
        (403, "RequestTimeTooSkewed", "", "GetObject", "the clock of this machine"),
        (400, "ExpiredToken", "", "GetObject", "the credentials have expired"),
        (403, "AccessDenied", "Request has expired", "GetObject", "the credentials have expired"),
        (403, "SignatureDoesNotMatch", "", "PutObject", "the secret key does not belong"),
        (403, "InvalidAccessKeyId", "", "GetObject", "does not know the access key"),
        (400, "InvalidToken", "", "GetObject", "the session token"),
        (403, "AccessDenied", "Access Denied", "ListObjectsV2", "credentials s3:ListBucket ("),
        (403, "AccessDenied", "Access Denied", "UploadPart", "credentials s3:PutObject ("),
        (403, "403", "Forbidden", "HeadObject", "credentials s3:GetObject (403)"),
        (401, "", "", "DeleteObject", "credentials s3:DeleteObject (401)"),
    ],
)
def test_a_refusal_says_its_reason(
    status: int, code: str, message: str, operation: str, said: str
) -> None:
    """What to look at: the clock, the keys, or the permission that is missing."""
    error = from_status("file 'a'", status, code, message, operation=operation)
    assert type(error) is Forbidden
    assert said in error.message


def test_an_archived_object_is_not_a_matter_of_credentials() -> None:
    """S3 answers 403 for it too."""
    error = from_status("file 'a'", 403, "InvalidObjectState")
    assert type(error) is RepositoryError
    assert "archived" in error.message


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"<?xml?><Error><Code>NoSuchKey</Code><Message>x</Message></Error>", "NoSuchKey"),
        (b"", ""),
        (b"<html>Bad gateway</html>", ""),
        (b"<Code>" + b"x" * 1000 + b"</Code>", ""),
    ],
)
def test_the_stores_code_is_read_from_its_answer(body: bytes, code: str) -> None:
    """And whatever else a proxy answers is no code."""
    assert error_code(body)[0] == code
