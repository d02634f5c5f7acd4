"""Polls of a submitted request until it has ended."""

from __future__ import annotations

import time
from urllib.parse import quote

from warmroute.call import Call, Exchange, Flow, Sleep
from warmroute.encoding import HEADER_LENGTH
from warmroute.errors import BadResponse, ConnectionFailed, Overloaded, RequestFailed, TimedOut
from warmroute.response import Document, Response, document, nothing, shown, text
from warmroute.result import Result, read_result

POLL_S = 20.0  # how long the server may hold one poll
PAUSE_S = 0.1  # the least time between two polls, if the server answers at once
PATIENCE_S = 30.0  # how long no gateway may answer (restarting, replaced) before result() gives up
GRACE_S = 2.0  # how much longer than the server a call waits, for the way there and back
ENDED_WITHOUT_RESULT = frozenset({"failed", "cancelled", "expired"})
STATES = frozenset({"queued", "running", "succeeded"}) | ENDED_WITHOUT_RESULT


def wait_for_result(exchange: Exchange, request_id: str, timeout_s: float | None) -> Flow[Result]:
    """The outcome of a request, however many polls it takes; None waits without a limit."""
    ends = float("inf") if timeout_s is None else time.monotonic() + timeout_s
    gives_up = time.monotonic() + PATIENCE_S
    while True:
        began, outcome = time.monotonic(), None
        try:
            outcome = yield from exchange(poll(request_id, max(min(ends - began, POLL_S), 0.0)))
            gives_up = time.monotonic() + PATIENCE_S
        except (ConnectionFailed, Overloaded, TimedOut):
            if time.monotonic() >= min(gives_up, ends):
                raise
        if outcome is not None:
            return outcome
        if time.monotonic() >= ends:
            raise TimedOut(f"request {request_id}: no outcome after {timeout_s:g} s")
        yield Sleep(max(PAUSE_S - (time.monotonic() - began), 0.0))


def poll(request_id: str, wait_s: float) -> Call[Result | None]:
    """One long poll, which the server holds for `wait_s` at most; None if it has not ended."""

    def read(response: Response) -> Result | None:
        if response.headers.get(HEADER_LENGTH) is not None:
            return read_result(response)
        _check_not_ended(document(response), request_id)
        return None

    return Call(
        method="GET", path=f"{request_path(request_id)}?wait={wait_s:.3f}", read=read, safe=True,
        headers={"Accept": "application/octet-stream"}, timeout_s=wait_s + GRACE_S,
    )  # fmt: skip


def describe(request_id: str) -> Call[Document]:
    """The status document of a request."""
    return Call(method="GET", path=request_path(request_id), read=_status_document, safe=True)


def cancel(request_id: str) -> Call[None]:
    """Take a request back."""
    return Call(method="DELETE", path=request_path(request_id), read=nothing)


def request_path(request_id: str) -> str:
    """The path of a submitted request."""
    return f"/v2/requests/{quote(request_id, safe='')}"


def _status_document(response: Response) -> Document:
    found = document(response)
    text(found, "status")
    return found


def _check_not_ended(found: Document, request_id: str) -> None:
    """RequestFailed for a request that ended without a result."""
    state = text(found, "status")
    if state in ENDED_WITHOUT_RESULT:
        message = str(found.get("error") or f"the request ended as {state}")
        raise RequestFailed(message, request_id=request_id, state=state)
    if state not in STATES - {"succeeded"}:
        raise BadResponse("status", shown(state), "queued or running, or a binary result")
