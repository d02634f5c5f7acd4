"""Commands to Redis as bytes, without a copy of what is large in them."""

from __future__ import annotations

from typing import Any

import hiredis

LARGE_FROM = 64 << 10  # bytes of an argument


def packed(args: tuple[Any, ...]) -> list[bytes]:
    """A command as RESP, in pieces that are sent one after the other.

    hiredis builds a command by appending to it, which stops the event loop for 30 ms where an
    argument has 16 MiB. So it packs what is small, and large arguments are sent as they are.
    """
    for arg in args:
        if type(arg) is bytes and len(arg) >= LARGE_FROM:
            return _in_pieces(args)
    return [hiredis.pack_command(args)]


def _in_pieces(args: tuple[Any, ...]) -> list[bytes]:
    pieces, head, small = [], b"*%d\r\n" % len(args), list[Any]()
    for arg in args:
        if type(arg) is bytes and len(arg) >= LARGE_FROM:
            pieces += [head + _without_count(small) + b"$%d\r\n" % len(arg), arg]
            head, small = b"\r\n", []
        else:
            small.append(arg)
    return [*pieces, head + _without_count(small)]


def _without_count(args: list[Any]) -> bytes:
    """Arguments as RESP, without the head that says how many there are."""
    return hiredis.pack_command(tuple(args)).split(b"\r\n", 1)[1] if args else b""
