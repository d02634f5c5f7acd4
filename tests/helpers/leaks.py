"""Keys left behind by a test: each has a lifetime, or an owner that will delete it (I25)."""

from __future__ import annotations

from redis.asyncio import Redis

from shared.keys import LASTING, Keys

FOR_EVER = -1


async def leaked_keys(client: Redis, keys: Keys) -> list[str]:
    """Keys without a lifetime that are neither in `shared.keys.LASTING` nor of another cell."""
    found = [key.decode() async for key in client.scan_iter("*", count=1000)]
    ours = [key for key in found if key.startswith(keys.prefix + ":") or not key.startswith("{")]
    pipe = client.pipeline(transaction=False)
    for key in ours:
        pipe.ttl(key)
    lifetimes = await pipe.execute() if ours else []
    pairs = zip(ours, lifetimes, strict=True)
    return sorted(key for key, ttl in pairs if ttl == FOR_EVER and not may_last(key, keys))


def may_last(key: str, keys: Keys) -> bool:
    """Whether `key` is one of those that an owner deletes."""
    name = key.removeprefix(keys.prefix + ":")
    if name == key:
        return False
    return any(name.startswith(k) if k.endswith(":") else name == k for k in LASTING)


async def forget_cell(client: Redis, keys: Keys) -> None:
    """Delete every key of the cell, and those that tests made outside of any cell."""
    found = [key async for key in client.scan_iter("*", count=1000)]
    prefix = keys.prefix.encode() + b":"
    ours = [key for key in found if key.startswith(prefix) or not key.startswith(b"{")]
    if ours:
        await client.delete(*ours)
