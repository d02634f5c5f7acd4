"""The address of a gateway, in the forms that people write."""

from __future__ import annotations

import os
import re
from urllib.parse import SplitResult, urlsplit

from warmroute.errors import InvalidInput

DEFAULT_URL = "http://127.0.0.1:8000"
VARIABLE = "WARMROUTE_URL"
FORM = "want http://HOST:PORT"


def default_url() -> str:
    """The value of WARMROUTE_URL, or the address at which a gateway listens by default."""
    return os.environ.get(VARIABLE, "").strip() or DEFAULT_URL


def read_url(text: str) -> str:
    """A URL without a slash at its end; `localhost:8000` becomes http, a path is kept.

    Raises:
        InvalidInput: the text is not the address of an HTTP server.
    """
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
    if parts.scheme.lower() not in ("http", "https"):
        return f"the scheme {parts.scheme}:// is not supported"
    if parts.username is not None or parts.password is not None:
        return "a user name and password are not supported"
    if parts.query or parts.fragment:
        return "a query or fragment is not supported"
    host = parts.hostname or ""
    if not host or host.isdigit() or re.search(r"[^\w.:%~-]", host):
        return f"{host!r} is not a host name"
    return "port 0 is not valid" if port == 0 else None
