"""Calls that a web page makes through its reader's browser, and that no script meant.

A browser sends a page's POST to any address that it reaches, a gateway on the reader's own machine
too, unless the call needs leave first (a preflight, which this server never grants). A call without
a content type, or with that of a form, needs none. So a call of a page of another origin is
refused, and a call that changes the cell takes JSON only. Other clients than browsers send neither
`Origin` nor `Sec-Fetch-Site`.

A page can have its own name bound to this address (DNS rebinding): then `Origin` and `Host` agree.
Browsers add `Sec-Fetch-Site`, which no page can write, for https and loopback only, where a name
cannot be bound anew. So without it a page is our own at an IP address or `localhost`, at no other
name. A mere read has no `Origin` to go by, and `Host` is not compared with a list, as proxies pass
on any name: where readers browse on the gateway's machine, a proxy that knows its names is the
remedy for reads.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web

from shared.errors import ForeignOrigin, WrongMediaType

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN = frozenset({"same-origin", "none"})  # `none`: typed, or of a bookmark
_OF_FORMS = frozenset({"text/plain", "application/x-www-form-urlencoded", "multipart/form-data"})


def check_origin(request: web.BaseRequest) -> None:
    """ForeignOrigin for a call of a page of another origin that is more than a read."""
    headers = request.headers
    if request.method in SAFE or ("Origin" not in headers and "Sec-Fetch-Site" not in headers):
        return
    site = headers.get("Sec-Fetch-Site")
    own = site.lower() in _OWN if site is not None else _is_own(headers["Origin"], request.host)
    if not own:
        raise ForeignOrigin("Origin: calls of web pages of another origin are refused")


def check_media_type(request: web.BaseRequest) -> None:
    """WrongMediaType for a call that changes the cell and says that its body is not JSON."""
    given = request.headers.get("Content-Type")
    if given is None or request.method in SAFE:
        return
    media_type = given.partition(";")[0].strip().lower()
    if media_type == "application/json" or media_type.endswith("+json"):
        return
    if request.can_read_body or media_type in _OF_FORMS:
        raise WrongMediaType(f"Content-Type: {media_type[:80]!r}, want application/json")


def _is_own(origin: str, host: str) -> bool:
    """Whether a page of `origin` came from the address that the call names, and that address is
    no name that others may have bound to it."""
    try:
        page = urlsplit(origin)
        return page.netloc.lower() == host.lower() and _cannot_be_rebound(page.hostname or "")
    except ValueError:
        return False


def _cannot_be_rebound(name: str) -> bool:
    """ValueError for a name other than `localhost`."""
    return name == "localhost" or bool(ip_address(name))
