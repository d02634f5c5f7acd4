"""Numbers as people write them, in settings and on command lines."""

from __future__ import annotations


def is_plain(text: str) -> bool:
    """Whether a number has digits as settings show them, 0 to 9: Python takes those of all
    scripts, and an underscore between them."""
    return text.isascii() and "_" not in text
