"""Whether an S3 store accepts a write, to wait for a server that is starting."""

from __future__ import annotations

from typing import Any

from shared.errors import RepositoryError
from shared.repository.s3_client import s3_errors

KEY = "warmroute-probe"


def can_write(client: Any, bucket: str) -> bool:
    """Whether a PUT into `bucket` works now; the object is deleted again."""
    try:
        with s3_errors("probe"):
            client.put_object(Bucket=bucket, Key=KEY, Body=b"1")
            client.delete_object(Bucket=bucket, Key=KEY)
    except RepositoryError:
        return False
    return True
