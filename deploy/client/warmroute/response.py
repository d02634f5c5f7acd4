"""A response below status 400, and readers that check it: each names the field that is wrong.

Fields that are not known here are ignored, because a newer server may send them. A field that is
needed and missing is a BadResponse, never a KeyError; also where a caller looks for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import unquote

from warmroute.errors import BadResponse

Document = dict[str, Any]
SHOWN = 40  # characters of a body or a value in an error message


@dataclass(frozen=True, slots=True)
class Response:
    """Status, headers (by name in any case) and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def document(response: Response) -> Document:
    """The body as a JSON object."""
    return as_object(parse_json(response.body, "body"), "body")


def nothing(response: Response) -> None:
    """The body is ignored."""


def listed(response: Response) -> list[Document]:
    """The body as a JSON list of objects."""
    return as_objects(parse_json(response.body, "body"), "body")


def rows_of(fields: Document, name: str) -> list[Document]:
    """A field that is a list of objects."""
    return as_objects(needed(fields, name, "a list"), name)


def location_id(response: Response) -> str:
    """The id at the end of the Location header: the request that was accepted."""
    location = response.headers.get("Location")
    name = unquote((location or "").rstrip("/").rpartition("/")[2])
    if not name:
        raise BadResponse("Location header", shown(location), "the path of the request")
    return name


def parse_json(raw: bytes | memoryview, field: str) -> Any:
    """JSON in UTF-8 as Python values."""
    try:
        return _DECODER.decode(str(raw, "utf-8"))
    except UnicodeDecodeError as error:
        raise BadResponse(field, f"byte {error.start} is not UTF-8", "JSON") from None
    except (ValueError, RecursionError):
        start = bytes(raw[:SHOWN]).decode(errors="replace")
        raise BadResponse(field, f"not JSON: {start!r}", "JSON of a gateway") from None


def as_object(value: Any, field: str) -> Document:
    """The value, a JSON object."""
    if not isinstance(value, dict):
        raise BadResponse(field, shown(value), "an object")
    return value


def as_objects(value: Any, field: str) -> list[Document]:
    """The value, a list of JSON objects."""
    if not isinstance(value, list):
        raise BadResponse(field, shown(value), "a list of objects")
    return [as_object(row, f"{field}[{at}]") for at, row in enumerate(value)]


def needed(fields: Document, name: str, expected: str, where: str = "") -> Any:
    """A field that has to be there."""
    if name not in fields:
        raise BadResponse(where + name, "missing", expected)
    return fields[name]


def text(fields: Document, name: str, where: str = "") -> str:
    """A field that has to be there and to be text."""
    value = needed(fields, name, "text", where)
    if not isinstance(value, str):
        raise BadResponse(where + name, shown(value), "text")
    return value


def optional_text(fields: Document, name: str, where: str = "") -> str | None:
    """A field that is text, null or missing."""
    return None if fields.get(name) is None else text(fields, name, where)


def shown(value: Any) -> str:
    """A value of a response in an error message, cut if it is long."""
    if value is None:
        return "missing or null"
    whole = repr(value)
    return whole if len(whole) <= SHOWN else whole[:SHOWN] + "..."


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class _Object(dict[str, Any]):
    """A JSON object of a response. `[name]` of a field that it lacks is a BadResponse."""

    def __missing__(self, name: str) -> NoReturn:
        raise BadResponse(name, "missing", "this field: the gateway may be of another version")


_DECODER = json.JSONDecoder(object_hook=_Object, parse_constant=_refuse_constant)
