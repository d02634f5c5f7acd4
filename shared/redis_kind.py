"""Whether a server is one that a cell can live on, found when a process starts.

A cell needs one primary of Redis (or Valkey) with Lua scripts that use any key under its prefix. It
works on a primary with replicas, behind Sentinel's or a provider's address of the primary, on a
managed service without cluster mode, and in a Redis Cluster, on the node that owns the slot of its
hash tag. One script shows the rest; what it cannot show, other checks and later calls do.
"""

from __future__ import annotations

from typing import Any, cast

import redis.exceptions
from redis.asyncio import Redis

from shared.errors import ConfigError
from shared.keys import Keys
from shared.location import Location, followed, location_of
from shared.refusals import word_of

WORKS = (
    "a cell works on one primary of Redis 6.2 or newer or of Valkey, with or without replicas, or "
    "in a Redis Cluster"
)
# DEL is never refused for lack of memory. The key is not declared: scripts use keys by their names.
_PROBE = "return redis.call('DEL', KEYS[1] .. ':none')"
_MANY = "it hides the nodes of a Redis Cluster and refuses scripts: name one of the nodes"
_ONLY_0 = "it is a node of a Redis Cluster, where there is no database but 0: leave it out"
_REFUSALS = {
    "READONLY": "it is a replica, which takes no writes: name the primary",
    "NOPERM": "its user may not do what a cell needs: the rules for a user are in "
    "deploy/docs/operations.md",
    "undeclared": "it refuses scripts that use keys which they do not declare, as Dragonfly does "
    "without --default_lua_flags=allow-undeclared-keys",
    "SELECT is not allowed": _ONLY_0,
    "non local key": _MANY,
    "CROSSSLOT": _MANY,
    "MOVED": "the nodes of its Redis Cluster do not agree which of them has the cell",
    "unknown command": "it runs no scripts, as proxies such as Twemproxy do not",
}


async def check_kind(client: Redis, keys: Keys, url: str) -> None:
    """ConfigError if a cell cannot live there, with what it can live on. Silent about a server that
    does not answer. Finds out whether it is in a Redis Cluster, for all connections to the cell."""
    try:
        info: dict[str, Any] = await client.info()
    except redis.exceptions.RedisError:
        info = {}  # a proxy hangs up on what it does not know; the script shows whether it is one
    why = _of_info(info)
    if not why and _in_cluster(info):
        why = await _enter(client, location_of(url, keys.cell))
    if not why:
        why = await _probe(client, keys)
    if why:
        raise ConfigError(f"REDIS_URL: {why}; {WORKS}")


async def _probe(client: Redis, keys: Keys) -> str:
    ask = cast(Any, client).execute_command
    try:  # a cluster that does not say what it is shows it here
        await followed(lambda: ask("EVAL", _PROBE, 1, keys.prefix))
    except redis.exceptions.RedisError as error:
        return refusal(error)
    return ""


async def _enter(client: Redis, location: Location) -> str:
    """Use the cluster from now on; why a cell cannot live in it."""
    if location.database:
        return _ONLY_0
    if not location.named.host:
        return "it is a node of a Redis Cluster: name it by host and port, not by its socket"
    location.enter_cluster()
    try:
        taken = await client.exists(location.key)
    except redis.exceptions.RedisError:
        return ""
    return f"a key {location.key} is there, which must be free: delete it" if taken else ""


def refusal(error: Exception) -> str:
    """What a refused script shows of the server; '' if nothing."""
    text, word = str(error), word_of(error)
    found = (why for sign, why in _REFUSALS.items() if sign == word or sign in text)
    return next(found, "")


def _of_info(info: dict[str, Any]) -> str:
    if info.get("redis_mode") == "sentinel":
        return "it is a Sentinel: name the primary that it watches"
    return ""


def _in_cluster(info: dict[str, Any]) -> bool:
    return info.get("cluster_enabled") == 1 or info.get("redis_mode") == "cluster"
