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
    assert error_code(body) == code
