"""All that a cell holds in Redis, to be compared with what it held before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tests.helpers.cell import LEASE_MS, Cell


async def state(cell: Cell) -> dict[str, Any]:
    """All keys of the cell and what they hold; streams with their groups, and of each key whether
    it lives for longer than a lease."""
    found: dict[str, Any] = {}
    async for key in cell.client.scan_iter(f"{cell.keys.prefix}:*", count=1000):
        if key.decode() != cell.keys.headroom:  # counted down between two looks at Redis's memory
            lives_on = await cell.client.pttl(key) > LEASE_MS * 1.2
            found[key.decode()] = await _value(cell, key), lives_on
    return found


async def _value(cell: Cell, key: bytes) -> Any:
    kind = (await cell.client.type(key)).decode()
    if kind == "stream":
        groups = await cell.client.xinfo_groups(key)
        told = [(g["name"], g["pending"], g["last-delivered-id"]) for g in groups]
        return await cell.client.xrange(key), told
    reads: dict[str, Callable[[], Awaitable[Any]]] = {
        "string": lambda: cell.client.get(key),
        "hash": lambda: cell.client.hgetall(key),
        "set": lambda: cell.client.smembers(key),
        "list": lambda: cell.client.lrange(key, 0, -1),
        "zset": lambda: cell.client.zrange(key, 0, -1, withscores=True),
    }
    return await reads[kind]()
