"""The event log over HTTP: pages of it, and following it across gateways that come and go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlencode

import msgspec

from warmroute.errors import ClientError, ConnectionFailed, Overloaded, TimedOut
from warmroute.http import Http

PATH = "/v2/events"
PAGE = 500
SILENT_S = 45.0  # a gateway says something every 15 seconds
PAUSE_S = 0.5
PATIENCE_S = 30.0  # how long there may be no gateway before following ends with an error
GAP = {"kind": "gap"}  # stands for events that are no longer kept

Filters = list[tuple[str, str]]


def event_pages(
    http: Http, filters: Filters, since: str | None, limit: int | None
) -> Iterator[Any]:
    """Events behind `since`, oldest first; without it the last ones. `limit` at most."""
    left = limit
    while True:
        query = list(filters)
        if since is not None:
            query += [("since", since), ("limit", str(min(left or PAGE, PAGE)))]
        elif left is not None:
            query.append(("limit", str(left)))
        page = http.call("GET", _path(query)).json()
        if page["gap"]:
            yield GAP
        yield from page["events"]
        left = None if left is None else left - len(page["events"])
        if since is None or not page["events"] or left == 0:
            return
        since = page["last"]


def follow_events(
    http: Http, filters: Filters, since: str | None,
    retrying: Callable[[ClientError], None] = lambda error: None,
) -> Iterator[Any]:  # fmt: skip
    """Events from `since` (None: from now) on, for ever. A gateway that ends the stream, or is
    away for a while, is asked again from the last event on; `retrying` is told so once."""
    path = _path([*filters, *([("since", since)] if since is not None else [])])
    headers = {"Accept": "text/event-stream"}
    gives_up, told = time.monotonic() + PATIENCE_S, False
    while True:
        try:
            with http.stream(path, headers=headers, silent_s=SILENT_S) as lines:
                for block in blocks(lines):
                    told = False
                    gives_up = time.monotonic() + PATIENCE_S
                    if "id" in block:
                        headers["Last-Event-ID"] = block["id"]
                    if "data" in block:
                        yield GAP if "event" in block else msgspec.json.decode(block["data"])
        except (ConnectionFailed, Overloaded, TimedOut) as error:
            if time.monotonic() >= gives_up:
                raise
            if not told:
                retrying(error)
            told = True
        time.sleep(PAUSE_S)


def blocks(lines: Iterable[bytes]) -> Iterator[dict[str, str]]:
    """Server-sent events: the fields of each; a comment is the field ''. One that is cut short is
    left out: it comes again."""
    block: dict[str, str] = {}
    for line in lines:
        text = line.decode().rstrip("\r\n")
        if not text:
            yield block
            block = {}
        else:
            name, _, value = text.partition(":")
            block[name] = value.removeprefix(" ")


def filters_of(model: str | None, worker: str | None, kinds: Iterable[str]) -> Filters:
    """The query of what is wanted."""
    given = [("model", model), ("worker", worker), *(("kind", kind) for kind in kinds)]
    return [(name, value) for name, value in given if value is not None]


def _path(query: Filters) -> str:
    return f"{PATH}?{urlencode(query)}" if query else PATH
