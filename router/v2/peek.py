"""The timeout of a V2 request that nobody has parsed yet: what its inputs are is not known."""

from __future__ import annotations

from typing import Any

import msgspec


class _Request(msgspec.Struct):
    parameters: dict[str, Any] | None = None


_decoder = msgspec.json.Decoder(_Request)


def peek_timeout_us(head: bytes | memoryview) -> int | None:
    """`parameters.timeout` of the JSON part; None if there is none, or it is no number of
    microseconds: whoever parses the request will say so."""
    try:
        value = (_decoder.decode(head).parameters or {}).get("timeout")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    known = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 63
    return value if known else None
