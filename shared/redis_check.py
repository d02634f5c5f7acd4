"""The start-up check: whether Redis is as durable as `deploy/docs/guarantees.md` describes."""

from __future__ import annotations

import logging
from typing import Any

import redis.exceptions
from redis.asyncio import Redis

from shared.errors import ConfigError
from shared.redis_start import first_info

log = logging.getLogger(__name__)

OLDEST = (6, 2)
WARN_FROM = 0.8  # a share of maxclients
Info = dict[str, Any]


async def check_redis(
    client: Redis, url: str, *, cell: str = "", strict: bool = False, connections: int = 1
) -> list[str]:
    """Warnings about settings that cannot keep the promise; ConfigError if Redis cannot be used.

    What holds only within limits is logged. `strict` makes a ConfigError of warnings.
    `connections`: that this process needs.
    """
    info: Info = await first_info(client, url, cell)
    version = tuple(int(part) for part in str(info["redis_version"]).split(".")[:2])
    if version < OLDEST:
        raise ConfigError(f"REDIS_URL: Redis {info['redis_version']}, at least 6.2 is needed")
    appendfsync = await _setting(client, "appendfsync")
    warnings = _clients(info, connections)
    warnings += _memory(info, strict) + _durability(info, appendfsync)
    warnings += _replicas(info, await _setting(client, "min-replicas-to-write"))
    if strict and warnings:
        raise ConfigError("REDIS_URL (WARMROUTE_STRICT=1): " + "; ".join(warnings))
    return warnings


async def _setting(client: Redis, name: str) -> str | None:
    """None where CONFIG is not allowed, as at many hosts of Redis."""
    try:
        found: dict[Any, Any] = await client.config_get(name)
    except redis.exceptions.RedisError:
        log.info("Redis: %s could not be checked, CONFIG is refused", name)
        return None
    return next((v.decode() if isinstance(v, bytes) else str(v) for v in found.values()), None)


def _clients(info: Info, connections: int) -> list[str]:
    """Redis refuses connections beyond `maxclients`: a process that connects at its start and
    not after a lost connection would stop to serve, and lose its lease."""
    most, there = int(info.get("maxclients", 0)), int(info.get("connected_clients", 0))
    if not most:
        return []
    said = f"Redis has {there} of at most {most} connections (maxclients)"
    if there - 1 + connections > most:  # one of them is this process's own
        raise ConfigError(f"REDIS_URL: {said}, {connections} more are needed")
    if there + connections > WARN_FROM * most:
        return [f"{said}: processes that reconnect, or further ones, may find none"]
    return []


def _memory(info: Info, strict: bool) -> list[str]:
    if not info.get("maxmemory") and strict:
        return ["maxmemory is 0: what is accepted has no bound but the memory of Redis's host"]
    if not info.get("maxmemory"):
        log.info(
            "Redis: maxmemory is 0: it grows until its host has no memory left, and requests are "
            "not refused before that"
        )
    elif info.get("maxmemory_policy") != "noeviction":
        return ["maxmemory-policy is not noeviction: Redis may evict accepted requests"]
    return []


def _durability(info: Info, appendfsync: str | None) -> list[str]:
    if not info.get("aof_enabled"):
        return ["appendonly is off: accepted requests do not survive a Redis restart"]
    if appendfsync == "no":
        return [
            "appendfsync is no: what was accepted since the system last wrote to the disk, half a "
            "minute or so, does not survive the loss of Redis's host"
        ]
    if appendfsync == "everysec":
        log.info(
            "Redis: appendfsync is everysec: with Redis's host the last second or two of accepted "
            "requests may be lost, and what finished in it may run again"
        )
    return []


def _replicas(info: Info, least: str | None) -> list[str]:
    if info.get("role", "master") != "master":
        return ["it is a replica: it takes no writes"]
    if info.get("connected_slaves") and least == "0":
        return [
            "min-replicas-to-write is 0: a failover loses what the replica had not yet received, "
            "without a bound"
        ]
    return []
