"""The calls of lists, a page at a time: each page has the call for the next one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from warmroute.call import Call
from warmroute.errors import BadResponse
from warmroute.response import (
    Document,
    Response,
    as_objects,
    document,
    listed,
    needed,
    optional_text,
    rows_of,
    shown,
)
from warmroute.verbs import get, post


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of a list, and the call for those that follow; None at its end."""

    rows: list[Document]
    next: Call[Page] | None


@dataclass(frozen=True, slots=True)
class FleetPage:
    """A page of the fleet, and the call for the next one; None at the end."""

    document: Document
    next: Call[FleetPage] | None

    @property
    def workers(self) -> list[Document]:
        """Its workers. BadResponse without them."""
        return rows_of(self.document, "workers")


def models(ready: bool | None, prefix: str | None = None, after: str = "") -> Call[Page]:
    """The repository index: a bare list, and the place of the next page in a header."""
    body = {} if ready is None else {"ready": bool(ready)}
    query = _filters([("prefix", prefix), ("after", after or None)])

    def read(response: Response) -> Page:
        found, follows = listed(response), response.headers.get("Warmroute-Next")
        _check_next(follows, after)
        return Page(found, None if follows is None else models(ready, prefix, follows))

    return post("/v2/repository/index" + query, body, read)


def residency(
    prefix: str | None = None, worker: str | None = None, state: str | None = None, after: str = ""
) -> Call[FleetPage]:
    """Workers, models and loads of the fleet, a page at a time."""
    given = [("prefix", prefix), ("worker", worker), ("state", state), ("after", after or None)]

    def read(response: Response) -> FleetPage:
        page = document(response)
        follows = optional_text(page, "next")  # an older gateway has one page
        _check_next(follows, after)
        page.pop("next", None)
        next_ = None if follows is None else residency(prefix, worker, state, follows)
        return FleetPage(page, next_)

    return get("/v2/residency" + _filters(given), read)


def joined(pages: Iterable[Document]) -> Document:
    """The pages of a fleet as one document. A model or load of several pages is there once, as the
    last one has it."""
    whole, *others = pages  # the first one, as it says which field it lacks
    for page in others:
        for field, rows in page.items():
            both = [*whole.get(field, ()), *rows] if isinstance(rows, list) else rows
            if field in ("models", "loads"):
                both = list({_identity(row): row for row in both}.values())
            whole[field] = both
    return whole


def _identity(row: Document) -> tuple[Any, ...]:
    return row.get("cell"), row.get("name"), row.get("version"), row.get("digest")


def page_of(path: str, field: str, limit: int, after: str = "") -> Call[Page]:
    """A list of which each page says what follows, under `next`."""
    query = f"?limit={limit}" + (f"&after={quote(after, safe='')}" if after else "")

    def read(response: Response) -> Page:
        page = document(response)
        found = as_objects(needed(page, field, "a list of objects"), field)
        needed(page, "next", "text or null")
        follows = optional_text(page, "next")
        _check_next(follows, after)
        return Page(found, None if follows is None else page_of(path, field, limit, follows))

    return get(path + query, read)


def _check_next(follows: str | None, after: str) -> None:
    """BadResponse if a page is followed by itself: it would be asked for without an end."""
    if follows is not None and follows == after:
        raise BadResponse("next", f"{shown(follows)} again", "the place after this page")


def _filters(given: Iterable[tuple[str, str | None]]) -> str:
    query = [(name, value) for name, value in given if value is not None]
    return f"?{urlencode(query)}" if query else ""
