"""Errors to HTTP: the only table of status codes, and the `{"error": ...}` body."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import Any, cast

from aiohttp import web

from router.rest.bodies import CODINGS, json_response
from shared.errors import NotFound, UnsupportedInput, WarmrouteError

STATUS: dict[str, int] = {
    "invalid": HTTPStatus.BAD_REQUEST,
    "too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "too_slow": HTTPStatus.REQUEST_TIMEOUT,
    "unsupported": HTTPStatus.NOT_IMPLEMENTED,
    "foreign_origin": HTTPStatus.FORBIDDEN,
    "wrong_media_type": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
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
    "undeliverable": HTTPStatus.BAD_GATEWAY,
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
VERBS = ("DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT")
BELOW_MODELS = "a model or version has no such path below it, and a name has no slash"


def problem(
    error: WarmrouteError, request_id: str = "", also: dict[str, Any] | None = None
) -> web.Response:
    """The response for an error of ours; `also`: further fields of its body."""
    status = STATUS.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)
    headers = {"Warmroute-Error": error.code}
    if request_id:
        headers["Warmroute-Request-Id"] = request_id
    if error.worker:
        headers["Warmroute-Worker"] = error.worker
    if error.retryable:
        headers["Retry-After"] = str(retry_after(error.retry_after_s))
    if status == HTTPStatus.NOT_IMPLEMENTED:
        headers["Accept-Encoding"] = CODINGS
    return json_response({**(also or {}), "error": error.message}, status, headers)


def raw_response(error: WarmrouteError) -> bytes:
    """The response for an error as bytes, where no handler runs; the connection closes then."""
    response = problem(error)
    body = cast(bytes, response.body)
    headers = {"Content-Length": str(len(body)), "Connection": "close", **response.headers}
    reason = HTTPStatus(response.status).phrase
    lines = [f"HTTP/1.1 {response.status} {reason}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def retry_after(seconds: float | None) -> int:
    """Whole seconds for Retry-After: 1 to 60, and up to a quarter more at random, so that callers
    refused together do not all retry together."""
    least = min(max(math.ceil(seconds or 1), 1), LONGEST_RETRY_AFTER_S)
    return least + int(random.random() * (1 + least / 4))


def from_aiohttp(request: web.BaseRequest, raised: web.HTTPException) -> web.StreamResponse:
    """Our response for one that aiohttp gives by itself, before a handler of ours runs."""
    if request.method == "OPTIONS" and request.rel_url.raw_path == "*":
        return web.Response(status=HTTPStatus.NO_CONTENT, headers={"Allow": ", ".join(VERBS)})
    if raised.status == HTTPStatus.EXPECTATION_FAILED:
        message, code = "Expect: not offered, want 100-continue", "expectation_failed"
    else:
        message, code = HTTPStatus(raised.status).phrase.lower(), NotFound.code
    return json_response({"error": message}, raised.status, {"Warmroute-Error": code})


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def no_such_path(request: web.Request) -> web.StreamResponse:
    """404 for an unknown path."""
    below = request.path.startswith(("/v2/models/", "/v2/repository/models/"))
    hint = f": {BELOW_MODELS}" if below else ""
    return problem(NotFound(f"no such path{hint}"))


def other_verbs(taken: Iterable[str]) -> Handler:
    """For a known path: OPTIONS lists its verbs, any other verb is 405."""
    verbs = {*taken, "OPTIONS"}
    allow = ", ".join(sorted(verbs | {"HEAD"} if "GET" in verbs else verbs))

    async def refuse(request: web.Request) -> web.StreamResponse:
        if request.method == "OPTIONS":
            return web.Response(status=HTTPStatus.NO_CONTENT, headers={"Allow": allow})
        return json_response(
            {"error": f"method not allowed, want {allow}"}, HTTPStatus.METHOD_NOT_ALLOWED,
            {"Allow": allow, "Warmroute-Error": "method_not_allowed"},
        )  # fmt: skip

    return refuse


def not_offered(what: str) -> Handler:
    """501 for a path that other servers of the Open Inference Protocol have."""

    async def refuse(request: web.Request) -> web.StreamResponse:
        return problem(UnsupportedInput(f"{what}: not offered by this server"))

    return refuse
