"""Calls by their verb."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from warmroute.call import Call
from warmroute.encoding import to_json
from warmroute.polling import GRACE_S
from warmroute.response import Response

TIMEOUT = "Warmroute-Timeout"
JSON = {"Content-Type": "application/json"}


def get(path: str, read: Callable[[Response], Any]) -> Call[Any]:
    """A call that only reads."""
    return Call(method="GET", path=path, read=read, safe=True)


def post(
    path: str, body: object, read: Callable[[Response], Any], timeout_s: float | None = None,
    headers: Mapping[str, str] | None = None,
) -> Call[Any]:  # fmt: skip
    """A call that has the same effect however often it is made."""
    headers = {**JSON, **(headers or {})}
    if timeout_s is not None:
        headers[TIMEOUT] = f"{timeout_s:g}"
        timeout_s += GRACE_S
    return Call(
        method="POST", path=path, read=read, headers=headers, body=to_json(body, "body"), safe=True,
        timeout_s=timeout_s,
    )  # fmt: skip
