"""The slots of a Redis Cluster: which of them a key is in."""

from __future__ import annotations

from binascii import crc_hqx

SLOTS = 16384


def slot_of(key: str) -> int:
    """The slot of a key, 0 to 16383: that of its hash tag, if it has one that is not empty."""
    _, opened, rest = key.partition("{")
    tag, closed, _ = rest.partition("}")
    return crc_hqx((tag if opened and closed and tag else key).encode(), 0) % SLOTS
