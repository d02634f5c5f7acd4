"""Whether an S3 store takes a write: what a server that is only just starting is asked."""

from __future__ import annotations

from typing import Any

from shared.errors import RepositoryError
from shared.repository.s3_client import s3_errors

KEY = "warmroute-probe"


def can_write(client: Any, bucket: str) -> bool:
    """Whether a PUT into `bucket` works now; what was put is deleted."""
    try:
        with s3_errors("probe"):
            client.put_object(Bucket=bucket, Key=KEY, Body=b"1")
            client.delete_object(Bucket=bucket, Key=KEY)
    except RepositoryError:
        return False
    return True
