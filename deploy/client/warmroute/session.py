"""A session: models that stay in memory while a program needs them, kept by a thread of its own."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import msgspec

from warmroute.errors import ClientError, NotFound, Rejected
from warmroute.http import Http

Wanted = str | tuple[str, int]
BEATS = 3  # within the time to live: two may be lost
GRACE_S = 2.0


class Session:
    """Opened by `with`. `models`: how far each was when it was opened; `error`: why it could not be
    kept (then its models may be evicted, and nothing else changes)."""

    def __init__(
        self, http: Http, models: Iterable[Wanted], *, ttl: float, wait: bool,
        timeout: float | None, id: str | None,
    ) -> None:  # fmt: skip
        self.id = id or secrets.token_hex(16)
        self.models: list[dict[str, Any]] = []
        self.error: ClientError | None = None
        self._http = http
        self._ttl = ttl
        self._timeout = timeout
        self._document = {
            "models": [_named(model) for model in models],
            "ttl_s": ttl,
            "id": self.id,
            "wait": wait,
        }
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"session {self.id}", daemon=True)

    def __enter__(self) -> Self:
        self.models = self.open()["models"]
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        with suppress(ClientError):  # what is not closed now ends by itself
            self._http.call("DELETE", session_path(self.id))

    def open(self, *, wait: bool | None = None) -> dict[str, Any]:
        """Open it without keeping it: its document. ServerError if the models do not fit."""
        document = self._document if wait is None else {**self._document, "wait": wait}
        headers = {} if self._timeout is None else {"Warmroute-Timeout": f"{self._timeout:g}"}
        opened: dict[str, Any] = self._http.call(
            "POST", "/v2/sessions", body=msgspec.json.encode(document), headers=headers,
            timeout_s=None if self._timeout is None else self._timeout + GRACE_S, repeatable=True,
        ).json()  # fmt: skip
        return opened

    def _keep(self) -> None:
        while not self._ended.wait(self._ttl / BEATS):
            try:
                self._beat()
                self.error = None
            except Rejected as error:
                self.error = error
                return
            except ClientError as error:  # no gateway answers: the next beat may come through
                self.error = error

    def _beat(self) -> None:
        body = msgspec.json.encode({"ttl_s": self._ttl})
        try:
            self._http.call(
                "POST", session_path(self.id) + "/heartbeat", body=body, repeatable=True,
                timeout_s=self._ttl / BEATS,
            )  # fmt: skip
        except NotFound:  # no gateway could be reached for a while, or Redis has lost it
            self.open(wait=False)


def session_path(session: str) -> str:
    """Where a session is."""
    return f"/v2/sessions/{quote(session, safe='')}"


def _named(model: Wanted) -> str | dict[str, Any]:
    return model if isinstance(model, str) else {"name": model[0], "version": model[1]}
