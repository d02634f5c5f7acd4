"""The boto3 client with the settings of its store, and its exceptions in ours."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import boto3
from botocore import exceptions
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.httpsession import get_cert_path
from botocore.session import get_session

from shared.errors import Forbidden, RepositoryError, StoreUnavailable
from shared.repository.options import ATTEMPTS, S3Options
from shared.repository.proxies import is_loopback
from shared.repository.responses import from_status
from shared.repository.tls import ca_file, refused_certificate

T = TypeVar("T")

DEFAULT_REGION = "us-east-1"
PAYER = {"x-amz-request-payer": "requester"}
LOOK_AGAIN_S = 1.0  # between two looks for changed credentials
_NO_ANSWER = (HTTPClientError, exceptions.ConnectionError)
_NO_CREDENTIALS = (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)
_UNOBTAINABLE = (
    exceptions.CredentialRetrievalError,
    exceptions.MetadataRetrievalError,
    exceptions.SSOError,
    exceptions.TokenRetrievalError,
)


class Connection:
    """A client (thread-safe), and the credentials that it was made with. Those may come from a
    file or a role, and be others by the time they are refused."""

    def __init__(self, options: S3Options) -> None:
        self.options = options
        self._lock = threading.Lock()
        self._looked = -LOOK_AGAIN_S
        self.client, self._session, self.ca_file = _open(options)

    def ask(self, what: str, operation: Callable[[Any], T]) -> T:
        """`operation(client)`, with the errors of `s3_errors`; once more if the credentials were
        refused and are others by now."""
        client = self.client
        try:
            with s3_errors(what):
                return operation(client)
        except Forbidden:
            if not self.renew(client):
                raise
        with s3_errors(what):
            return operation(self.client)

    def renew(self, refused: Any) -> bool:
        """Whether there is another client by now than the `refused` one, with other credentials:
        they are read again, once a second at most."""
        with self._lock:
            if self.client is not refused:
                return True
            if time.monotonic() - self._looked < LOOK_AGAIN_S:
                return False
            self._looked = time.monotonic()
            client, session, _ = _open(self.options)
            if _credentials_of(session) == _credentials_of(self._session):
                return False
            self.client, self._session = client, session
            return True


def make_client(
    endpoint_url: str | None,
    region: str | None,
    access_key: str | None = None,
    secret_key: str | None = None,
    *,
    attempts: int = ATTEMPTS,
    timeout_s: float = 60,
) -> Any:
    """An S3 client (thread-safe) for a server that is named by its address, or AWS; contacts
    nothing yet. RepositoryError for unusable settings."""
    style = "path" if endpoint_url else ""
    options = S3Options(
        endpoint_url, region, access_key, secret_key, style, attempts=attempts, timeout_s=timeout_s
    )
    return _open(options)[0]


def _open(options: S3Options) -> tuple[Any, Any, str]:
    """A client, the session that has its credentials, and the certificates that it trusts."""
    endpoint = options.endpoint_url
    with s3_errors("model repository"):
        core = get_session()
        session = boto3.session.Session(
            options.access_key, options.secret_key, region_name=options.region,
            botocore_session=core,
        )  # fmt: skip
        trusted = ca_file(core) or str(get_cert_path(True))
        where = session.region_name or DEFAULT_REGION
        try:
            client = session.client(
                "s3", where, endpoint_url=endpoint, verify=trusted,
                config=_config(options, core.get_scoped_config().get("s3")),
            )  # fmt: skip
        except ValueError as error:  # botocore's answer to an endpoint that is not a URL
            raise RepositoryError("model repository: the S3 endpoint is not a URL") from error
        client.meta.events.register_first("needs-retry.s3", _refuse_certificate)
        if options.requester_pays:
            client.meta.events.register("before-parameter-build.s3", _pay)
        return client, session, trusted


def _config(options: S3Options, profile: object) -> Config:
    style = options.addressing_style
    if not style and options.endpoint_url:
        style = profile.get("addressing_style", "path") if isinstance(profile, dict) else "path"
    return Config(
        signature_version="s3v4",  # the default would presign with the version that is retired
        retries={"mode": "standard", "total_max_attempts": options.attempts},
        connect_timeout=5,
        read_timeout=options.timeout_s,
        max_pool_connections=16,
        s3={"addressing_style": style} if style else None,
        # None: the proxies of the environment.
        proxies={} if is_loopback(options.endpoint_url or "") else None,
    )


def _credentials_of(session: Any) -> object:
    """Those that are valid now. Fetching them (from a role) may fail, and a call says so then."""
    try:
        found = session.get_credentials()
        return found and found.get_frozen_credentials()
    except BotoCoreError:
        return None


def _refuse_certificate(caught_exception: Exception | None = None, **_: object) -> None:
    """Called before a retry: a certificate that is not trusted will not be a moment later."""
    if isinstance(caught_exception, exceptions.SSLError):
        error = refused_certificate("", caught_exception)
        if error is not None:
            raise caught_exception


def _pay(params: dict[str, Any], model: Any, **_: object) -> None:
    if model.input_shape is not None and "RequestPayer" in model.input_shape.members:
        params.setdefault("RequestPayer", "requester")


@contextmanager
def s3_errors(what: str) -> Iterator[None]:
    """Translate boto3's exceptions in calls about `what`; keys, hosts and secrets stay out."""
    try:
        yield
    except ClientError as error:
        raise _from_response(what, error) from error
    except _NO_CREDENTIALS as error:
        raise Forbidden(
            f"{what}: no S3 credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from error
    except _UNOBTAINABLE as error:
        reason = type(error).__name__
        raise Forbidden(f"{what}: S3 credentials cannot be obtained ({reason})") from error
    except _NO_ANSWER as error:
        if refused := refused_certificate(what, error):
            raise refused from error
        reason = type(error).__name__
        raise StoreUnavailable(f"{what}: the store does not answer ({reason})") from error
    except BotoCoreError as error:
        raise RepositoryError(f"{what}: {type(error).__name__}") from error


def _from_response(what: str, error: ClientError) -> RepositoryError:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    said = error.response.get("Error", {})
    code, message = str(said.get("Code", "")), str(said.get("Message", ""))
    return from_status(what, status, code, message, operation=error.operation_name)
