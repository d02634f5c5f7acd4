"""A submitted request: look, wait, or take it back."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

from warmroute.errors import (
    ConnectionFailed,
    Overloaded,
    RequestFailed,
    ServerError,
    TimedOut,
)
from warmroute.http import HEADER_LENGTH, Http
from warmroute.result import Result, read_result

POLL_S = 20.0
PAUSE_S = 0.1  # between polls that the server answered at once, so that none becomes a busy loop
PATIENCE_S = 30.0  # how long a gateway may be away (restarting, replaced) before result() gives up
ENDED_WITHOUT_RESULT = frozenset({"failed", "cancelled", "expired"})


class Pending:
    """Handle of an accepted request. It can be rebuilt elsewhere: `client.pending(id)`."""

    def __init__(self, http: Http, request_id: str) -> None:
        self._http = http
        self.id = request_id

    def __repr__(self) -> str:
        return f"Pending({self.id!r})"

    def status(self) -> str:
        """queued, running, succeeded, failed, cancelled or expired."""
        return str(self.describe()["status"])

    def describe(self) -> dict[str, Any]:
        """The whole status document."""
        document: dict[str, Any] = self._http.call("GET", self._path).json()
        return document

    def result(self, timeout: float | None = None) -> Result:
        """Wait for the outcome, `timeout` seconds at most (None: as long as it takes).

        RequestFailed if the request ended otherwise; TimedOut leaves it where it is. A gateway
        that is away for a while is waited for: the request does not live in it.
        """
        ends = float("inf") if timeout is None else time.monotonic() + timeout
        gives_up = time.monotonic() + PATIENCE_S
        while True:
            began, outcome = time.monotonic(), None
            try:
                outcome = self._poll(max(min(ends - began, POLL_S), 0.0))
                gives_up = time.monotonic() + PATIENCE_S
            except (ConnectionFailed, Overloaded):
                if time.monotonic() >= min(gives_up, ends):
                    raise
            if outcome is not None:
                return outcome
            if time.monotonic() >= ends:
                raise TimedOut(f"request {self.id}: no outcome after {timeout} s")
            time.sleep(max(PAUSE_S - (time.monotonic() - began), 0.0))

    def cancel(self) -> bool:
        """Take the request back; False if it had already ended."""
        try:
            self._http.call("DELETE", self._path)
        except ServerError as error:
            if error.status == 409:
                return False
            raise
        return True

    @property
    def _path(self) -> str:
        return f"/v2/requests/{quote(self.id, safe='')}"

    def _poll(self, wait_s: float) -> Result | None:
        """One long poll. The server holds it for `wait_s`; a little more is left for the way."""
        answer = self._http.call(
            "GET",
            f"{self._path}?wait={wait_s:.3f}",
            headers={"Accept": "application/octet-stream"},
            timeout_s=wait_s + 10.0,
        )
        if answer.header(HEADER_LENGTH) is not None:
            return read_result(answer)
        document = answer.json()
        if not isinstance(document, dict) or "status" not in document:
            raise ConnectionFailed(f"request {self.id}: the answer is no status document")
        if document["status"] in ENDED_WITHOUT_RESULT:
            message = document.get("error") or f"the request ended as {document['status']}"
            raise RequestFailed(message, request_id=self.id, state=document["status"])
        return None
