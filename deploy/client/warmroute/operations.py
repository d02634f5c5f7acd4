"""Every call but inference as a value, one function each: models, fleet, sessions, dead letters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from warmroute.call import Call
from warmroute.encoding import to_json
from warmroute.errors import InvalidInput
from warmroute.paging import Page, page_of
from warmroute.response import (
    Document,
    Response,
    as_objects,
    document,
    location_id,
    needed,
    nothing,
    text,
)
from warmroute.verbs import JSON, get, post

ROWS = 100  # rows of a page
EVENTS = 500  # events of a page
GAP: Document = {"kind": "gap"}  # stands for events that are no longer kept
Query = list[tuple[str, str]]


def model(name: str, version: int | None) -> Call[Document]:
    """V2 metadata of a model."""
    return get(model_path(name, version), document)


def versions(name: str) -> Call[Document]:
    """All versions of a model."""
    return get(model_path(name, None) + "/versions", document)


def load(name: str, version: int | None, timeout_s: float | None, wait: bool) -> Call[Document]:
    """Load a model on some worker."""
    headers = {} if wait else {"Prefer": "respond-async"}
    return post(_repository_path(name, version) + "/load", {}, document, timeout_s, headers)


def unload(name: str, version: int | None, timeout_s: float | None) -> Call[Document]:
    """Unload a model from every worker."""
    return post(_repository_path(name, version) + "/unload", {}, document, timeout_s)


def policy(name: str, version: int | None) -> Call[Document]:
    """The residency policy of a model."""
    return get(model_path(name, version) + "/policy", document)


def set_policy(name: str, fields: Mapping[str, Any], version: int | None) -> Call[Document]:
    """Override fields of a residency policy."""
    return Call(
        method="PUT", path=model_path(name, version) + "/policy", read=document, headers=JSON,
        body=to_json(dict(fields), "fields"), safe=True,
    )  # fmt: skip


def model_residency(name: str, version: int | None) -> Call[Document]:
    """The copies of a model."""
    return get(model_path(name, version) + "/residency", document)


def ready() -> Call[bool]:
    """Whether a gateway is ready."""
    return Call(
        method="GET", path="/v2/health/ready", read=lambda response: response.status == 200,
        safe=True, timeout_s=5.0,
    )  # fmt: skip


def requests() -> Call[Page]:
    """Accepted requests that have not ended."""
    return page_of("/v2/requests", "requests", ROWS)


def dead_letters() -> Call[Page]:
    """Dead letters, the newest first."""
    return page_of("/v2/dead", "letters", ROWS)


def dead_letter(entry: str) -> Call[Document]:
    """One dead letter with its request."""
    return get(_dead_path(entry), document)


def replay_dead_letter(entry: str) -> Call[str | None]:
    """The id of the new request; None for a stream entry, which has none."""

    def read(response: Response) -> str | None:
        return None if response.headers.get("Location") is None else location_id(response)

    return Call(method="POST", path=_dead_path(entry) + "/replay", read=read)


def drop_dead_letter(entry: str) -> Call[None]:
    """Remove a dead letter."""
    return Call(method="DELETE", path=_dead_path(entry), read=nothing)


def sessions() -> Call[Page]:
    """Open sessions by id."""
    return page_of("/v2/sessions", "sessions", ROWS)


def session(session_id: str) -> Call[Document]:
    """One session and its models."""
    return get(_session_path(session_id), document)


def open_session(
    session_id: str, named: list[Any], ttl_s: float, wait: bool, timeout_s: float | None
) -> Call[Document]:
    """Open a session, or find the one of this id open already."""
    body = {"models": named, "ttl_s": ttl_s, "id": session_id, "wait": wait}
    return post("/v2/sessions", body, document, timeout_s)


def keep_session(session_id: str, ttl_s: float | None) -> Call[Document]:
    """Heartbeat of a session."""
    body = {} if ttl_s is None else {"ttl_s": ttl_s}
    return post(_session_path(session_id) + "/heartbeat", body, document)


def close_session(session_id: str) -> Call[None]:
    """End a session."""
    return Call(method="DELETE", path=_session_path(session_id), read=nothing)


def event_filters(model: str | None, worker: str | None, kinds: Iterable[str]) -> Query:
    """The filters of an event query."""
    given = [("model", model), ("worker", worker), *(("kind", kind) for kind in kinds)]
    return [(name, value) for name, value in given if value is not None]


def events(filters: Query, since: str | None, limit: int | None) -> Call[Page]:
    """Events after `since`, the oldest first; without it the last ones. At most `limit`."""
    query = list(filters)
    if since is not None:
        query += [("since", since), ("limit", str(min(limit or EVENTS, EVENTS)))]
    elif limit is not None:
        query.append(("limit", str(limit)))

    def read(response: Response) -> Page:
        page = document(response)
        found = as_objects(needed(page, "events", "a list of objects"), "events")
        gap = needed(page, "gap", "true or false")
        left = None if limit is None else limit - len(found)
        last = since is None or not found or left == 0
        next_ = None if last else events(filters, text(page, "last"), left)
        return Page([GAP, *found] if gap else found, next_)

    return get("/v2/events" + (f"?{urlencode(query)}" if query else ""), read)


def model_path(name: str, version: int | None) -> str:
    """The path of a model, or of one version of it."""
    try:
        path = f"/v2/models/{quote(name, safe='')}"
    except (TypeError, UnicodeEncodeError):
        raise InvalidInput(f"model {name!r}: a model name must be text") from None
    if version is not None and not isinstance(version, int):
        raise InvalidInput(f"version {version!r}: want a whole number")
    return path if version is None else f"{path}/versions/{version}"


def _repository_path(name: str, version: int | None) -> str:
    return model_path(name, version).replace("/v2/", "/v2/repository/", 1)


def _dead_path(entry: str) -> str:
    return f"/v2/dead/{quote(entry, safe='')}"


def _session_path(session_id: str) -> str:
    return f"/v2/sessions/{quote(session_id, safe='')}"
