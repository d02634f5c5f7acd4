"""What an operator asks of a fleet: load, unload, policies, sessions. `Client` has all of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from warmroute.fleet import model_path
from warmroute.http import Http
from warmroute.session import GRACE_S, Session, Wanted, session_path

TIMEOUT = "Warmroute-Timeout"
PAGE = 100


class Admin:
    """Calls that change where models are. Each may be made again without harm."""

    _http: Http

    def load(
        self, model: str, *, version: int | None = None, timeout: float | None = None,
        wait: bool = True,
    ) -> dict[str, Any]:  # fmt: skip
        """Have a model loaded, and wait for it, `timeout` seconds at most (default: the server's);
        its workers stand under `workers`. With wait=False only order it."""
        headers = {} if wait else {"Prefer": "respond-async"}
        return self._order(model, version, "load", timeout, headers)

    def unload(
        self, model: str, *, version: int | None = None, timeout: float | None = None
    ) -> dict[str, Any]:
        """Free every copy of a model, of all versions if none is given, and wait for it."""
        return self._order(model, version, "unload", timeout, {})

    def policy(self, model: str, *, version: int | None = None) -> dict[str, Any]:
        """The residency policy in force, the `overrides` in it, and what the `manifest` says."""
        answer: dict[str, Any] = self._http.call("GET", _policy_path(model, version)).json()
        return answer

    def set_policy(
        self, model: str, fields: Mapping[str, Any], *, version: int | None = None
    ) -> dict[str, Any]:
        """Override some fields of the policy; None takes an override back. As `policy` then."""
        body = msgspec.json.encode(dict(fields))
        answer: dict[str, Any] = self._http.call(
            "PUT", _policy_path(model, version), body=body, repeatable=True
        ).json()
        return answer

    def session(
        self, models: Iterable[Wanted], *, ttl: float = 60.0, wait: bool = True,
        timeout: float | None = None, id: str | None = None,
    ) -> Session:  # fmt: skip
        """Models that stay in memory while a `with` block runs, however long that is.

        Names, or (name, version). `wait` until each is loaded or has failed, `timeout` seconds at
        most. The block's end closes it; if the program dies, it ends `ttl` seconds later.
        """
        return Session(self._http, models, ttl=ttl, wait=wait, timeout=timeout, id=id)

    def sessions(self) -> Iterator[dict[str, Any]]:
        """Open sessions by id, with the names of their models."""
        after: str | None = ""
        while after is not None:
            path = f"/v2/sessions?limit={PAGE}" + (f"&after={quote(after, safe='')}" * bool(after))
            page = self._http.call("GET", path).json()
            yield from page["sessions"]
            after = page["next"]

    def find_session(self, session: str) -> dict[str, Any]:
        """A session, and how far each of its models is."""
        found: dict[str, Any] = self._http.call("GET", session_path(session)).json()
        return found

    def keep_session(self, session: str, ttl: float | None = None) -> dict[str, Any]:
        """Let a session go on for `ttl` seconds from now."""
        body = b"{}" if ttl is None else msgspec.json.encode({"ttl_s": ttl})
        path = session_path(session) + "/heartbeat"
        kept: dict[str, Any] = self._http.call("POST", path, body=body, repeatable=True).json()
        return kept

    def close_session(self, session: str) -> None:
        """Its models may be evicted."""
        self._http.call("DELETE", session_path(session))

    def _order(
        self, model: str, version: int | None, verb: str, timeout: float | None,
        headers: dict[str, str],
    ) -> dict[str, Any]:  # fmt: skip
        path = model_path(model, version).replace("/v2/", "/v2/repository/", 1)
        if timeout is not None:
            headers = {**headers, TIMEOUT: f"{timeout:g}"}
        said: dict[str, Any] = self._http.call(
            "POST", f"{path}/{verb}", body=b"{}", headers=headers, repeatable=True,
            timeout_s=None if timeout is None else timeout + GRACE_S,
        ).json()  # fmt: skip
        return said


def _policy_path(model: str, version: int | None) -> str:
    return model_path(model, version) + "/policy"
