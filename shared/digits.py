"""Numbers as people write them, in settings and on command lines."""

from __future__ import annotations


def is_plain(text: str) -> bool:
    """Whether a number has digits as everybody reads them: Python takes those of all scripts, and
    an underscore between them."""
    return text.isascii() and "_" not in text
