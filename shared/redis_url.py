"""REDIS_URL, read in one place for every connection: redis-py's and `Channel`'s.

`redis://`, `rediss://` (TLS, with `ssl_*` options) and `unix://`. What is wrong with a URL is found
when the settings are read, in words that never show the password.
"""

from __future__ import annotations

import re
import ssl
from functools import lru_cache
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

import redis.exceptions
from redis.asyncio.connection import SSLConnection, parse_url

SCHEMES = ("redis", "rediss", "unix")
EXPECTED = "want redis://host:port/db, rediss:// or unix:///path"
PERCENT = "a user or password in it must be percent-encoded"
_TLS = (
    "ssl_keyfile", "ssl_certfile", "ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_path", "ssl_ca_data",
    "ssl_check_hostname", "ssl_min_version", "ssl_ciphers", "ssl_password",
)  # fmt: skip
_OPTIONS = frozenset({"db", "username", "password", *_TLS})
_TRUE_OR_FALSE = re.compile(r"(?i)true|false|yes|no|y|n|t|f|1|0")


def options_of(url: str) -> dict[str, Any]:
    """host, port or path, db, username, password and `ssl_*` of a URL without faults."""
    found: dict[str, Any] = dict(parse_url(url))
    found.pop("connection_class", None)
    return found


def is_unix(url: str) -> bool:
    """Whether the URL names a socket in the file system."""
    return url.startswith("unix:")


@lru_cache(maxsize=4)
def tls_context(url: str) -> ssl.SSLContext | None:
    """What TLS demands, as redis-py reads it; None without TLS. It is kept: to read certificates
    holds up an event loop for tens of ms."""
    if not url.startswith("rediss:"):
        return None
    given = {name: value for name, value in options_of(url).items() if name in _TLS}
    return SSLConnection(**given).ssl_context.get()


def faults(url: str) -> list[str]:
    """What is wrong with a URL, one sentence each, without its secrets."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return [f"cannot be read: {PERCENT}"]
    if parts.scheme not in SCHEMES or "://" not in url:
        return [EXPECTED]
    return _unclear(parts) or _wrong_options(parts) or _wrong_tls(url)


def _unclear(parts: SplitResult) -> list[str]:
    """A / ? or # in a password ends the host too early."""
    try:
        port_is_one = parts.port != 0
    except ValueError:
        port_is_one = False
    if not port_is_one:
        return [f"what stands for its port is not one; {PERCENT}"]
    names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    cut = "@" in "".join(names) or ("@" in parts.path + parts.query and "@" not in parts.netloc)
    if parts.fragment or (cut and parts.scheme != "unix"):
        return [f"has an @ or # behind its host; {PERCENT}"]
    if parts.scheme == "unix":
        return [] if parts.path else ["want unix:///path"]
    if not re.fullmatch(r"/?|/[0-9]{1,5}", parts.path):
        return ["what stands for its database is not a number: want redis://host:port/0"]
    return []


def _wrong_options(parts: SplitResult) -> list[str]:
    given = parse_qsl(parts.query, keep_blank_values=True)
    names = [name for name, _ in given]
    unknown = sorted({name[:40] for name in names} - _OPTIONS)
    if unknown:
        return [f"its option {unknown[0]!r} is not one of {', '.join(sorted(_OPTIONS))}"]
    if len(set(names)) < len(names):
        return ["one of its options is given twice"]
    wrong = []
    for name, value in given:
        if name == "db" and not re.fullmatch(r"[0-9]{1,5}", value):
            wrong.append("its option db is not a number")
        if name in _TLS and parts.scheme != "rediss":
            wrong.append(f"its option {name} needs rediss://")
        if name == "ssl_check_hostname" and not _TRUE_OR_FALSE.fullmatch(value):
            wrong.append("its option ssl_check_hostname: want true or false")
        if name == "ssl_cert_reqs" and value not in ("none", "optional", "required"):
            wrong.append("its option ssl_cert_reqs: want none, optional or required")
    return wrong


def _wrong_tls(url: str) -> list[str]:
    """A certificate that is not there, or cannot be read."""
    try:
        tls_context(url)
    except FileNotFoundError:
        return ["a file that its ssl_ options name is missing"]
    except (OSError, ValueError, redis.exceptions.RedisError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None)
        return [f"its ssl_ options cannot be used: {reason or type(error).__name__}"]
    return []
