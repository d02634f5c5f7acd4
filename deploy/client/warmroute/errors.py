"""What a call can raise, as one tree.

    ClientError
    ├── InvalidInput       what the caller gave cannot be sent; a TypeError and a ValueError, too
    ├── ConnectionFailed   no gateway answered: nothing was accepted, or nobody knows
    │   └── NoGateway          no connection could be opened: certainly nothing was accepted
    ├── TimedOut           the time ran out; a submitted request may still finish
    │   └── Expired            504: the server's own word for it, a ServerError, too
    ├── RequestFailed      the request ended as failed, cancelled or expired
    └── ServerError        the gateway answered with an error status
        ├── Rejected           4xx: the request is wrong as it is
        │   ├── NotFound           404: no such model, version or request
        │   │   └── Gone               it has ended, and its outcome is no longer kept
        │   └── KeyReused          422: the idempotency key stands for another request
        ├── Overloaded         429, 503: nothing was accepted, come back after `retry_after_s`
        └── OutcomeUnknown     503: it may run or not; only with an idempotency key ask again

`status` is the HTTP status, `code` the server's own word for the error and `message` what it said,
word for word.
"""

from __future__ import annotations


class ClientError(Exception):
    """Root of the tree."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidInput(ClientError, TypeError, ValueError):
    """Nothing was sent: an input cannot be sent without changing it, or an argument is wrong."""


class ConnectionFailed(ClientError):
    """No gateway at that address, or the connection broke before an answer."""


class NoGateway(ConnectionFailed):
    """No connection could be opened, so nothing was sent."""


class TimedOut(ClientError):
    """No outcome within the caller's `timeout`."""


class RequestFailed(ClientError):
    """A submitted request reached a terminal state other than succeeded."""

    def __init__(self, message: str, *, request_id: str, state: str) -> None:
        super().__init__(message)
        self.request_id = request_id
        self.state = state


class ServerError(ClientError):
    """The gateway refused or failed; `retry_after_s` if it said when to come back."""

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
    """4xx: sending the same again will not help."""


class NotFound(Rejected):
    """404."""


class Gone(NotFound):
    """404 with the code `gone`."""


class KeyReused(Rejected):
    """422 with the code `key_reused`."""


class Overloaded(ServerError):
    """429 or 503."""


class OutcomeUnknown(ServerError):
    """503 with the code `outcome_unknown`."""


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
    """The class of the tree that stands for a code, or else for an HTTP status."""
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status)
    kind = kind or (Rejected if status < 500 else ServerError)
    return kind(
        message, status=status, code=code, request_id=request_id, retry_after_s=retry_after_s
    )
