"""What the headers and the query of a request say beside its body."""

from __future__ import annotations

import re
from collections.abc import Collection

from aiohttp import web

from router.requests import intake
from router.requests.call import check_key
from router.requests.records import MAX_WAIT_S
from shared.config import RouterConfig
from shared.errors import InvalidInput

TIMEOUT = "Warmroute-Timeout"
IDEMPOTENCY_KEY = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
MAX_LIMIT = 1000
_WAIT = re.compile(r'wait="?([0-9]{1,6})"?')
_LIMIT = re.compile(r"[0-9]{1,5}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


def read_once(request: web.Request, header: str) -> str | None:
    """A header's value, None without it. InvalidInput if it is given twice."""
    headers = request.headers
    if header not in headers:
        return None
    if len(headers.getall(header)) > 1:
        raise InvalidInput(f"{header}: given twice")
    return headers[header]


def read_timeout_header(request: web.Request, config: RouterConfig) -> float | None:
    """Seconds of Warmroute-Timeout, None without it. InvalidInput."""
    header = read_once(request, TIMEOUT)
    if header is None:
        return None
    seconds = float(header) if _SECONDS.fullmatch(header) else 0.0
    if not 0 < seconds <= config.max_timeout_s:
        raise InvalidInput(
            f"{TIMEOUT}: want seconds, more than 0 and at most {config.max_timeout_s:g}"
        )
    return seconds


def read_key(request: web.Request) -> str:
    """The value of Idempotency-Key, '' without it. InvalidInput."""
    key = read_once(request, IDEMPOTENCY_KEY)
    return "" if key is None else check_key(key, IDEMPOTENCY_KEY)


def read_timeout(request: web.Request, timeout_us: int | None, config: RouterConfig) -> float:
    """Seconds until the deadline: the smaller of the header and `parameters.timeout`."""
    return intake.timeout_s(timeout_us, read_timeout_header(request, config), config)


def parse_prefer(values: list[str]) -> tuple[bool, float | None]:
    """RFC 7240: whether a 202 is preferred, and after how many seconds. Unknown preferences are
    ignored."""
    if not values:
        return False, None
    parts = [part.strip().lower() for value in values for part in value.split(",")]
    waits = [match for part in parts if (match := _WAIT.fullmatch(part))]
    return "respond-async" in parts, float(waits[0][1]) if waits else None


def parse_traceparent(value: str) -> str:
    """The header, or '' if it is not valid (W3C Trace Context: then ignore it)."""
    if not value:
        return ""
    head = value[:55]
    return head if TRACEPARENT.fullmatch(head) and not head.startswith("ff") else ""


def parse_limit(text: str | None, default: int = 50, most: int = MAX_LIMIT) -> int:
    """The page size of `?limit=`. InvalidInput unless 1 to `most`."""
    if text is None:
        return default
    limit = int(text) if _LIMIT.fullmatch(text) else 0
    if not 1 <= limit <= most:
        raise InvalidInput(f"limit: want 1 to {most}; without it {default}, and `next` for more")
    return limit


def parse_filter(request: web.Request, name: str, known: Collection[str] = ()) -> str:
    """The value of a filter in the query, "" without it. InvalidInput unless it could be (the
    start of) a name, and is among those `known`, if any are."""
    text = request.query.get(name, "")
    if text and not (text in known if known else _NAME.fullmatch(text)):
        want = f"one of {', '.join(known)}" if known else "1 to 128 of A-Z a-z 0-9 . _ -"
        raise InvalidInput(f"{name}: want {want}; without it all are listed")
    return text


def parse_wait(text: str | None) -> float:
    """Seconds of `?wait=`. InvalidInput unless 0 to 60."""
    if text is None:
        return 0.0
    seconds = float(text) if _SECONDS.fullmatch(text) else -1.0
    if not 0 <= seconds <= MAX_WAIT_S:
        raise InvalidInput(f"wait: want 0 to {MAX_WAIT_S:g} seconds")
    return seconds
