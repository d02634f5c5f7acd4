"""One HTTP call: time limits, retries, and errors of our own.

Tried again: a connection that could not be opened, 429 or 503 (after the server's own Retry-After),
and a GET whose connection broke. A POST that may have been accepted is tried again only if it is
`repeatable` (it has an idempotency key): without one, a second `submit` would be a second request.
"""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import tenacity
import urllib3

from warmroute.errors import (
    ConnectionFailed,
    InvalidInput,
    NoGateway,
    OutcomeUnknown,
    Overloaded,
    ServerError,
    TimedOut,
    error_for,
)

MAX_BACKOFF_S = 30.0
HEADER_LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class Answer:
    """A response below 400, whole in memory."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str | None:
        """A header by name in any case, or None."""
        return self.headers.get(name)

    def json(self) -> Any:
        """The body as JSON; ConnectionFailed if it is none: a proxy's page, say."""
        try:
            return msgspec.json.decode(self.body)
        except msgspec.DecodeError:
            start = self.body[:40].decode(errors="replace")
            raise ConnectionFailed(f"the answer is no JSON of a gateway: {start!r}") from None

    def split(self) -> tuple[bytes, bytes]:
        """JSON header and binary tensors of a V2 body; all is header where no length is given."""
        length = self.header(HEADER_LENGTH)
        at = len(self.body) if length is None else int(length)
        return self.body[:at], self.body[at:]


HARMLESS = (NoGateway, Overloaded)
REPEATED = (ConnectionFailed, Overloaded, OutcomeUnknown)


class Http:
    """Calls to one gateway over kept-alive connections; safe to share between threads."""

    def __init__(self, url: str, *, timeout_s: float, retries: int, connections: int) -> None:
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._retries = retries
        self._pool = urllib3.PoolManager(maxsize=connections, retries=False, block=True)

    def close(self) -> None:
        """Drop the kept connections."""
        self._pool.clear()

    def call(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        repeatable: bool = False,
    ) -> Answer:
        """The answer, or an error of the tree in `errors.py`. `timeout_s` spans all tries.

        `repeatable`: a second call does no more than the first. A GET always is.
        """
        repeatable = repeatable or method == "GET"
        ends = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(REPEATED if repeatable else HARMLESS),
            wait=_wait_as_told,
            stop=tenacity.stop_after_attempt(self._retries + 1) | _StopBefore(ends),
            reraise=True,
        )
        return attempts(self._once, method, path, body, headers, ends)

    @contextmanager
    def stream(
        self, path: str, *, headers: Mapping[str, str], silent_s: float
    ) -> Iterator[Iterator[bytes]]:
        """A GET whose answer has no end: its lines, as they come. One try; ConnectionFailed also
        when it breaks off, or nothing comes for `silent_s`. It occupies a connection."""
        timeout = urllib3.Timeout(connect=self._timeout_s, read=silent_s)
        response = self._request("GET", path, None, headers, timeout, whole=False)
        try:
            if response.status >= 400:
                raise _error(Answer(response.status, response.headers, response.data))
            yield iter(response)
        except urllib3.exceptions.HTTPError as error:
            raise ConnectionFailed(f"GET {path}: {error}") from error
        finally:
            response.close()  # unread, so nothing else can come over that connection
            response.release_conn()

    def _once(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        ends: float,
    ) -> Answer:
        left = max(ends - time.monotonic(), 0.001)
        timeout = urllib3.Timeout(connect=left, read=left)
        response = self._request(method, path, body, headers, timeout, whole=True)
        answer = Answer(response.status, response.headers, response.data)
        if response.status >= 400:
            raise _error(answer)
        return answer

    def _request(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        timeout: urllib3.Timeout,
        *,
        whole: bool,
    ) -> urllib3.BaseHTTPResponse:
        try:
            return self._pool.request(
                method,
                self.url + path,
                body=body,
                headers=headers,
                timeout=timeout,
                redirect=False,
                preload_content=whole,
            )
        except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError) as e:
            raise NoGateway(f"no gateway answers at {self.url}{_beside(e)}") from e
        except urllib3.exceptions.TimeoutError as error:
            raise TimedOut(f"{method} {path}: no answer in time") from error
        except urllib3.exceptions.SSLError as error:
            raise NoGateway(
                f"no gateway answers at {self.url} over TLS: {_reason(error)}"
            ) from error
        except urllib3.exceptions.HTTPError as error:
            raise ConnectionFailed(f"{method} {path}: {_reason(error)}") from error
        except ValueError as error:  # a header or path that HTTP has no form for
            raise InvalidInput(f"{method} {path}: cannot be sent: {error}") from error


def _beside(error: Exception) -> str:
    """What is known beside that nobody answers."""
    unknown = isinstance(error, urllib3.exceptions.NameResolutionError)
    return ": that name does not resolve" if unknown else ""


def _reason(error: Exception) -> str:
    """The innermost of the errors that HTTP libraries wrap, as a person would say it."""
    cause = error.args[-1] if error.args else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return cause.verify_message
    if isinstance(cause, ssl.SSLError):
        return "what listens there speaks no TLS, want http://"
    if isinstance(cause, http.client.RemoteDisconnected | ConnectionError):
        return "the connection was closed before an answer"
    if isinstance(cause, http.client.BadStatusLine):
        return "what listens there speaks no HTTP"
    return str(error)


def _error(answer: Answer) -> ServerError:
    return error_for(
        answer.status,
        _message(answer),
        code=answer.header("Warmroute-Error") or "",
        request_id=answer.header("Warmroute-Request-Id"),
        retry_after_s=_seconds(answer.header("Retry-After")),
    )


class _StopBefore(tenacity.stop.stop_base):
    """Stop when the next wait would end after the caller's time."""

    def __init__(self, ends: float) -> None:
        self._ends = ends

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        return time.monotonic() + retry_state.upcoming_sleep >= self._ends


_backoff = tenacity.wait_random_exponential(multiplier=0.1, max=MAX_BACKOFF_S)


def _wait_as_told(retry_state: tenacity.RetryCallState) -> float:
    error = retry_state.outcome.exception() if retry_state.outcome else None
    if isinstance(error, ServerError) and error.retry_after_s is not None:
        return error.retry_after_s
    return float(_backoff(retry_state))


def _message(answer: Answer) -> str:
    """The server's own words, or the start of the body where it is not our JSON error."""
    try:
        return str(answer.json()["error"])
    except (ConnectionFailed, KeyError, TypeError):
        text = answer.body[:200].decode(errors="replace")
        return text or f"HTTP status {answer.status} without a message"


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After in seconds; its date form is not used by this server and is ignored."""
    try:
        return None if retry_after is None else min(float(retry_after), MAX_BACKOFF_S)
    except ValueError:
        return None
