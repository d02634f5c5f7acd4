"""The boto3 client, and its exceptions in ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore import exceptions
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

from shared.errors import Forbidden, RepositoryError, StoreUnavailable
from shared.repository.proxies import is_loopback
from shared.repository.responses import from_status

DEFAULT_REGION = "us-east-1"
ATTEMPTS = 4
_NO_ANSWER = (HTTPClientError, exceptions.ConnectionError)
_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError)


def make_client(
    endpoint_url: str | None,
    region: str | None,
    access_key: str | None = None,
    secret_key: str | None = None,
    *,
    attempts: int = ATTEMPTS,
    timeout_s: float = 60,
) -> Any:
    """An S3 client (thread-safe); contacts nothing yet. RepositoryError for unusable settings."""
    config = Config(
        signature_version="s3v4",  # the default would presign with the version that is retired
        retries={"mode": "standard", "total_max_attempts": attempts},
        connect_timeout=5,
        read_timeout=timeout_s,
        max_pool_connections=16,
        # A store at an address of its own seldom has a DNS name for each bucket.
        s3={"addressing_style": "path" if endpoint_url else "auto"},
        proxies={} if is_loopback(endpoint_url or "") else None,  # None: those of the environment
    )
    with s3_errors("model repository"):
        session = boto3.session.Session(access_key, secret_key, region_name=region)
        where = session.region_name or DEFAULT_REGION
        try:
            return session.client("s3", where, endpoint_url=endpoint_url, config=config)
        except ValueError as error:  # botocore's answer to an endpoint that is not a URL
            raise RepositoryError("model repository: the S3 endpoint is not a URL") from error


@contextmanager
def s3_errors(what: str) -> Iterator[None]:
    """Translate boto3's exceptions in calls about `what`; keys, hosts and secrets stay out."""
    try:
        yield
    except ClientError as error:
        raise _from_response(what, error.response) from error
    except _NO_CREDENTIALS as error:
        raise Forbidden(
            f"{what}: no S3 credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from error
    except _NO_ANSWER as error:
        reason = type(error).__name__
        raise StoreUnavailable(f"{what}: the store does not answer ({reason})") from error
    except BotoCoreError as error:
        raise RepositoryError(f"{what}: {type(error).__name__}") from error


def _from_response(what: str, response: dict[str, Any]) -> RepositoryError:
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return from_status(what, status, str(response.get("Error", {}).get("Code", "")))
