"""Every error that a call can raise, as one tree.

    ClientError
    ├── InvalidInput       nothing was sent: an argument or a tensor cannot be sent as it is given;
    │                      also a TypeError and a ValueError
    ├── ConnectionFailed   the connection broke before the response: the request may be accepted
    │   └── NoGateway          no connection could be opened: nothing was accepted
    ├── BadResponse        the response breaks the protocol; `field` names the part that does
    ├── TimedOut           the time ran out; a submitted request may still finish
    │   └── Expired            504: the request's deadline passed at the server; also a ServerError
    ├── RequestFailed      the request ended as failed, cancelled or expired
    └── ServerError        the gateway answered with an error status
        ├── Rejected           4xx: the same request cannot succeed
        │   ├── NotFound           404: unknown model, version, request, session or dead letter
        │   │   └── Gone               the request has ended and its outcome is no longer kept
        │   └── KeyReused          422: the idempotency key belongs to a different request
        ├── Overloaded         429, 503: nothing was accepted, retry after `retry_after_s`
        └── OutcomeUnknown     503: the request may be accepted; retry with an idempotency key only

`status` is the HTTP status, `code` the server's name of the error and `message` its text.
"""

from __future__ import annotations


class ClientError(Exception):
    """Base class of all errors of this package. `message` is one sentence for people."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidInput(ClientError, TypeError, ValueError):
    """Nothing was sent: a tensor would have to be changed to be sent, or an argument is wrong."""


class ConnectionFailed(ClientError):
    """The connection broke before the response was complete; the request may be accepted."""


class NoGateway(ConnectionFailed):
    """No connection could be opened, so nothing was sent."""


class BadResponse(ClientError):
    """The response breaks the protocol: it was cut off, changed, or is not a gateway's.

    `field` is the wrong part (`outputs[0].shape`, a header, `body`), `expected` what the protocol
    says about it. `request_id` names the request in the server's log, if the response had it.
    """

    def __init__(self, field: str, problem: str, expected: str) -> None:
        super().__init__(f"the response is not valid: {field}: {problem}, expected {expected}")
        self.field = field
        self.expected = expected
        self.request_id: str | None = None


class TimedOut(ClientError):
    """The caller's `timeout` ran out before the outcome was known."""


class RequestFailed(ClientError):
    """A submitted request ended in the terminal `state` failed, cancelled or expired."""

    def __init__(self, message: str, *, request_id: str, state: str) -> None:
        super().__init__(message)
        self.request_id = request_id
        self.state = state


class ServerError(ClientError):
    """The gateway answered with an error status; `retry_after_s` if it said when to retry."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str = "",
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after_s = retry_after_s


class Rejected(ServerError):
    """4xx: the same request cannot succeed."""


class NotFound(Rejected):
    """404: unknown model, version, request, session or dead letter."""


class Gone(NotFound):
    """404 with the code `gone`: the request has ended and its outcome is no longer kept."""


class KeyReused(Rejected):
    """422 with the code `key_reused`: the idempotency key belongs to a different request."""


class Overloaded(ServerError):
    """429 or 503: nothing was accepted."""


class OutcomeUnknown(ServerError):
    """503 with the code `outcome_unknown`: the request may be accepted."""


class Expired(ServerError, TimedOut):
    """504: the deadline of the request passed at the server."""


_BY_CODE: dict[str, type[ServerError]] = {
    "gone": Gone,
    "key_reused": KeyReused,
    "outcome_unknown": OutcomeUnknown,
}
_BY_STATUS: dict[int, type[ServerError]] = {
    404: NotFound,
    429: Overloaded,
    503: Overloaded,
    504: Expired,
}


def error_for(
    status: int, message: str, *, code: str, request_id: str | None, retry_after_s: float | None
) -> ServerError:
    """The error class for a `code` of the server, or else for an HTTP status."""
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status)
    kind = kind or (Rejected if status < 500 else ServerError)
    return kind(
        message, status=status, code=code, request_id=request_id, retry_after_s=retry_after_s
    )
