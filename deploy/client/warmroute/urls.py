"""The address of a gateway, as people write it."""

from __future__ import annotations

import os
import re
from urllib.parse import SplitResult, urlsplit

from warmroute.errors import InvalidInput

DEFAULT_URL = "http://127.0.0.1:8000"
VARIABLE = "WARMROUTE_URL"
FORM = "want http://HOST:PORT"


def default_url() -> str:
    """WARMROUTE_URL, or where a gateway listens that was told nothing."""
    return os.environ.get(VARIABLE, "").strip() or DEFAULT_URL


def read_url(text: str) -> str:
    """A URL without a slash at its end. `localhost:8000` is http; a path is kept; InvalidInput
    says what is wrong."""
    if not isinstance(text, str):
        raise InvalidInput(f"gateway {text!r}: {FORM}")
    url = text.strip()
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", url):
        url = f"http://{url}"
    try:
        parts = urlsplit(url)
        fault = _fault(parts, parts.port)
    except ValueError as error:
        fault = str(error)
    if fault:
        raise InvalidInput(f"gateway {text!r}: {fault}, {FORM}")
    return url.rstrip("/")


def _fault(parts: SplitResult, port: int | None) -> str | None:
    if parts.scheme not in ("http", "https"):
        return f"{parts.scheme}:// is not spoken here"
    if parts.username is not None or parts.password is not None:
        return "a user and a password are not sent"
    if parts.query or parts.fragment:
        return "it has a query"
    host = parts.hostname or ""
    if not host or host.isdigit() or re.search(r"[^\w.:%~-]", host):
        return f"{host!r} is no host"
    return "port 0 is none" if port == 0 else None
