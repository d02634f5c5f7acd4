"""Errors to HTTP: the only table of status codes, and the `{"error": ...}` body."""

from __future__ import annotations

import math
import random
import zlib
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import cast

import msgspec
from aiohttp import web

from shared.errors import InvalidInput, NotFound, TooLarge, WarmrouteError

STATUS: dict[str, int] = {
    "invalid": HTTPStatus.BAD_REQUEST,
    "too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "too_slow": HTTPStatus.REQUEST_TIMEOUT,
    "unsupported": HTTPStatus.NOT_IMPLEMENTED,
    "key_reused": HTTPStatus.UNPROCESSABLE_ENTITY,
    "not_found": HTTPStatus.NOT_FOUND,
    "gone": HTTPStatus.NOT_FOUND,
    "conflict": HTTPStatus.CONFLICT,
    "overloaded": HTTPStatus.TOO_MANY_REQUESTS,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "outcome_unknown": HTTPStatus.SERVICE_UNAVAILABLE,
    "quarantined": HTTPStatus.SERVICE_UNAVAILABLE,
    "expired": HTTPStatus.GATEWAY_TIMEOUT,
    "cancelled": HTTPStatus.CONFLICT,
    "model_failed": HTTPStatus.INTERNAL_SERVER_ERROR,
    "dead_lettered": HTTPStatus.INTERNAL_SERVER_ERROR,
    "out_of_memory": HTTPStatus.INSUFFICIENT_STORAGE,
    "does_not_fit": HTTPStatus.INSUFFICIENT_STORAGE,
    "load_failed": HTTPStatus.UNPROCESSABLE_ENTITY,
    "untrusted": HTTPStatus.FORBIDDEN,
    "insufficient_memory": HTTPStatus.INSUFFICIENT_STORAGE,
    "repository": HTTPStatus.BAD_GATEWAY,
    "blob_missing": HTTPStatus.BAD_GATEWAY,
    "forbidden": HTTPStatus.BAD_GATEWAY,
    "changed_meanwhile": HTTPStatus.SERVICE_UNAVAILABLE,
    "corrupt": HTTPStatus.UNPROCESSABLE_ENTITY,
    "store_unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "disk_full": HTTPStatus.SERVICE_UNAVAILABLE,
}

LONGEST_RETRY_AFTER_S = 60


def problem(error: WarmrouteError, request_id: str = "") -> web.Response:
    """The answer for an error of ours."""
    status = STATUS.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)
    headers = {"Warmroute-Error": error.code}
    if request_id:
        headers["Warmroute-Request-Id"] = request_id
    if error.retryable:
        headers["Retry-After"] = str(retry_after(error.retry_after_s))
    body = msgspec.json.encode({"error": error.message})
    return web.Response(status=status, body=body, headers=headers, content_type="application/json")


def last_words(error: WarmrouteError) -> bytes:
    """The answer for an error, as bytes, where no handler runs; the connection closes after it."""
    response = problem(error)
    body = cast(bytes, response.body)
    headers = {"Content-Length": str(len(body)), "Connection": "close", **response.headers}
    reason = HTTPStatus(response.status).phrase
    lines = [f"HTTP/1.1 {response.status} {reason}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def retry_after(seconds: float | None) -> int:
    """Whole seconds for Retry-After: at least 1, and a minute is long enough to ask again. Up to a
    quarter more, by chance, so that those who were refused together do not come back together."""
    least = min(max(math.ceil(seconds or 1), 1), LONGEST_RETRY_AFTER_S)
    return least + int(random.random() * (1 + least / 4))


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def no_such_path(request: web.Request) -> web.StreamResponse:
    """404 for a path that is none of ours."""
    return problem(NotFound("no such path"))


def wrong_verb(allowed: Iterable[str]) -> Handler:
    """405 for a path of ours with a verb that it does not take."""
    allow = ", ".join(sorted(allowed))

    async def refuse(request: web.Request) -> web.StreamResponse:
        body = msgspec.json.encode({"error": f"method not allowed, want {allow}"})
        return web.Response(
            status=HTTPStatus.METHOD_NOT_ALLOWED, body=body, content_type="application/json",
            headers={"Allow": allow, "Warmroute-Error": "method_not_allowed"},
        )  # fmt: skip

    return refuse


async def read_body(request: web.Request, limit: int) -> bytes:
    """The whole body, decompressed; TooLarge over the limit, however it was sent."""
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "deflate"):
        raise InvalidInput("Content-Encoding: want gzip or deflate")
    if (request.content_length or 0) > limit:
        raise TooLarge(f"body: {request.content_length} bytes, at most {limit}")
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise TooLarge(f"body: over the limit of {limit} bytes") from None
    except (web.RequestPayloadError, zlib.error, ValueError):
        raise InvalidInput("body: cannot be read (cut short, or corrupt compression)") from None
