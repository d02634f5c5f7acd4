"""Whether a server is one that a cell can live on, found when a process starts.

A cell needs one primary of Redis (or Valkey) with Lua scripts that use any key under its prefix. It
works on a primary with replicas, behind Sentinel's or a provider's address of the primary, and on a
managed service without cluster mode. One script shows the rest; what it cannot show, other checks
and later calls do.
"""

from __future__ import annotations

from typing import Any, cast

import redis.exceptions
from redis.asyncio import Redis

from shared.errors import ConfigError
from shared.keys import Keys
from shared.refusals import word_of

WORKS = "a cell works on one primary of Redis 6.2 or newer or of Valkey, with or without replicas"
# DEL is never refused for lack of memory. The key is not declared: scripts use keys by their names.
_PROBE = "return redis.call('DEL', KEYS[1] .. ':none')"
_REFUSALS = {
    "READONLY": "it is a replica, which takes no writes: name the primary",
    "NOPERM": "its user may not do what a cell needs: the rules for a user are in "
    "deploy/docs/operations.md",
    "undeclared": "it refuses scripts that use keys which they do not declare, as Dragonfly does "
    "without --default_lua_flags=allow-undeclared-keys",
    "non local key": "it is a node of a Redis Cluster",
    "CROSSSLOT": "it is a node of a Redis Cluster",
    "MOVED": "it is a node of a Redis Cluster",
    "CLUSTERDOWN": "it is a node of a Redis Cluster",
    "unknown command": "it runs no scripts, as proxies such as Twemproxy do not",
}


async def check_kind(client: Redis, keys: Keys) -> None:
    """ConfigError if a cell cannot live there, with what it can live on. Silent about a server that
    does not answer."""
    try:
        info: dict[str, Any] = await client.info()
    except redis.exceptions.RedisError:
        info = {}  # a proxy hangs up on what it does not know; the script shows whether it is one
    why = _of_info(info)
    if not why:
        try:
            await cast(Any, client).execute_command("EVAL", _PROBE, 1, keys.prefix)
        except redis.exceptions.RedisError as error:
            why = refusal(error)
    if why:
        raise ConfigError(f"REDIS_URL: {why}; {WORKS}")


def refusal(error: Exception) -> str:
    """What a refused script shows of the server; '' if nothing."""
    text, word = str(error), word_of(error)
    found = (why for sign, why in _REFUSALS.items() if sign == word or sign in text)
    return next(found, "")


def _of_info(info: dict[str, Any]) -> str:
    if info.get("redis_mode") == "sentinel":
        return "it is a Sentinel: name the primary that it watches"
    if info.get("cluster_enabled") == 1 or info.get("redis_mode") == "cluster":
        return "it is a node of a Redis Cluster (cluster_enabled), and a cell does not follow slots"
    return ""
