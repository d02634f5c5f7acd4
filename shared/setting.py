"""One setting: how it is declared, read from text, and shown to people."""

from __future__ import annotations

import dataclasses
import re
from typing import Any
from urllib.parse import urlsplit, urlunsplit

MIB = 1 << 20
SIZES = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


def setting(env: str, default: Any, doc: str, *, low: float = 0, unit: str = "") -> Any:
    """A field read from `env`; numbers below `low` are refused."""
    meta = {"env": env, "doc": doc, "low": low, "unit": unit}
    return dataclasses.field(default=default, metadata=meta)


def convert(kind: type, text: str, low: float) -> Any:
    """The value of a variable; ValueError says what is wrong with it."""
    if kind is str:
        return text
    try:
        value = kind(text)
    except ValueError:
        raise ValueError(f"{text!r} is not {'an integer' if kind is int else 'a number'}") from None
    if not low <= value < float("inf"):
        raise ValueError(
            f"{text} is below the least value {low:g}" if value < low else "not finite"
        )
    return value


def show_default(value: str, unit: str) -> str:
    """A default as people write it."""
    if value == "":
        return "empty"
    if unit == "bytes":
        return _size(int(value))
    return value.removesuffix(".0") if unit == "s" else value


def _size(size: int) -> str:
    for name, factor in SIZES:
        if size and size % factor == 0:
            return f"{size // factor} {name}"
    return str(size)


def mask_url(url: str) -> str:
    """The URL without its password, for people."""
    url = re.sub(r"(?i)([?&]password=)[^&#]*", r"\1***", url)
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{host}"))
