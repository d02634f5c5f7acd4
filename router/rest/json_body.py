"""Small JSON documents in and out, for every endpoint but the busy one (see v2/).

A body is an object in UTF-8, each key given once; what is wrong with it names the field.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import msgspec
from aiohttp import web

from router.rest.bodies import read_body
from router.v2 import strict
from shared.errors import InvalidInput


async def read_object(
    request: web.Request, fields: Collection[str], limit: int = 1 << 16
) -> dict[str, Any]:
    """The body as an object with no fields but these; {} if it is empty. InvalidInput, TooLarge."""
    raw = await read_body(request, limit)
    document = _decode(raw) if raw else {}
    if not isinstance(document, dict):
        raise InvalidInput(f"body: want an object with {_list(fields)}")
    refuse_others(document, fields)
    return document


def refuse_others(document: dict[str, Any], fields: Collection[str], under: str = "") -> None:
    """InvalidInput for a field that is none of these; `under` names what it is part of."""
    for name in document:
        if name not in fields:
            raise InvalidInput(f"{under}{name[:80]}: no such field, want {_list(fields)}")


def answer(
    document: object, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """A JSON answer."""
    raw = msgspec.json.encode(document)
    return web.Response(status=status, body=raw, headers=headers, content_type="application/json")


def _decode(raw: bytes) -> Any:
    try:
        document = msgspec.json.decode(raw)
        json.loads(raw, object_pairs_hook=_unlike)
    except RecursionError:
        raise InvalidInput("body: JSON is nested too deeply") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise InvalidInput(f"body: {strict.explain(raw, error)}") from None
    return document


def _unlike(pairs: list[tuple[str, Any]]) -> None:
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise InvalidInput(f"body: the key {key[:40]!r} is given twice")
        seen.add(key)


def _list(fields: Collection[str]) -> str:
    return " and ".join(", ".join(fields).rsplit(", ", 1)) if fields else "no fields"
