"""One HTTP call as a value, and the flow that makes it: time limit, retries, typed errors.

Nothing here sends. A flow is a generator that yields `Send` and `Sleep` and is given the response
of each `Send`; `Client` and `AsyncClient` differ only in how they do these two.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from warmroute.errors import (
    BadResponse,
    ClientError,
    ConnectionFailed,
    NoGateway,
    OutcomeUnknown,
    Overloaded,
    ServerError,
    error_for,
)
from warmroute.response import Response, parse_json, shown

# Of a call: a little longer than a gateway's own default deadline, so that its 504, which says what
# it waited for, comes first.
TIMEOUT_S = 65.0
MAX_BACKOFF_S = 30.0
FIRST_BACKOFF_S = 0.1
SUCCESS = frozenset({200, 201, 202, 204})

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """A request and how its response is read.

    `safe`: a second call has no further effect, so it may be retried whenever the connection
    breaks. `timeout_s` spans all tries; None is the client's default.
    """

    method: str
    path: str
    read: Callable[[Response], T]
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    safe: bool = False
    statuses: frozenset[int] = SUCCESS
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """A step of a flow: send this call once, within `timeout_s`."""

    call: Call[Any]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Sleep:
    """A step of a flow: do nothing for so many seconds."""

    seconds: float


Flow = Generator[Send | Sleep, Any, T]


@dataclass(frozen=True, slots=True)
class Exchange:
    """Makes calls with the time limit and the number of retries of one client."""

    timeout_s: float
    retries: int

    def __call__(self, call: Call[T]) -> Flow[T]:
        """The value that `call.read` finds in the response.

        It is retried when nothing was accepted for certain: no connection could be opened, or 429
        or 503 came with a Retry-After. A `safe` call is also retried when its connection broke or
        its outcome is unknown. A retry that could not begin in time is not waited for.
        """
        ends = time.monotonic() + (self.timeout_s if call.timeout_s is None else call.timeout_s)
        tries = 0
        while True:
            try:
                response = yield Send(call, max(ends - time.monotonic(), 0.001))
                return read(call, response)
            except ClientError as error:
                tries += 1
                pause_s = _pause(error, tries)
                late = time.monotonic() + pause_s >= ends
                if tries > self.retries or late or not _retriable(call, error):
                    raise
            yield Sleep(pause_s)


def read(call: Call[T], response: Response) -> T:
    """The value of a response; a ServerError for an error status, BadResponse for a wrong one."""
    if response.status >= 400:
        raise server_error(response)
    try:
        if response.status not in call.statuses:
            raise _unexpected_status(call, response)
        return call.read(response)
    except BadResponse as error:
        error.request_id = response.headers.get("Warmroute-Request-Id")
        raise


def server_error(response: Response) -> ServerError:
    """The error that a response with an error status stands for."""
    return error_for(
        response.status,
        _message(response),
        code=response.headers.get("Warmroute-Error") or "",
        request_id=response.headers.get("Warmroute-Request-Id"),
        retry_after_s=_seconds(response.headers.get("Retry-After")),
    )


def _retriable(call: Call[Any], error: ClientError) -> bool:
    if isinstance(error, NoGateway):
        return True
    if isinstance(error, Overloaded) and error.retry_after_s is not None:
        return True
    return call.safe and isinstance(error, ConnectionFailed | Overloaded | OutcomeUnknown)


def _pause(error: ClientError, tries: int) -> float:
    """Seconds until the next try: as the server asks, else random below a doubling limit."""
    if isinstance(error, ServerError) and error.retry_after_s is not None:
        return error.retry_after_s
    return random.uniform(0, min(FIRST_BACKOFF_S * 2**tries, MAX_BACKOFF_S))


def _unexpected_status(call: Call[Any], response: Response) -> BadResponse:
    want = " or ".join(map(str, sorted(call.statuses)))
    moved = response.headers.get("Location")
    if 300 <= response.status < 400 and moved:
        want += f"; redirects are not followed, use the address behind {shown(moved)}"
    return BadResponse("status", str(response.status), want)


def _message(response: Response) -> str:
    """The server's own text, or the start of a body that is not the JSON of a gateway."""
    try:
        return str(parse_json(response.body, "body")["error"])
    except (BadResponse, KeyError, TypeError, IndexError):
        start = response.body[:200].decode(errors="replace")
        return start or f"HTTP status {response.status} without a message"


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After in seconds, at most half a minute; its date form is ignored."""
    if retry_after is None or not retry_after.isascii() or not retry_after.isdigit():
        return None
    return min(float(retry_after[:9]), MAX_BACKOFF_S)
