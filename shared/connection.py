"""Opening Redis: the one place that decides protocol, timeouts and retries.

redis-py 8 retries each command ten times by default and gives every socket a 5 s timeout. A
repeated script or XADD could run twice, and a blocking read would fail half-way, so retries are
off here and each caller says what a lost connection means for it. Redis errors become ours
(`Unavailable`) at this edge.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis.exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from shared.config import mask_url
from shared.errors import ConfigError, Unavailable

CONNECT_TIMEOUT_S = 3.0
COMMAND_TIMEOUT_S = 10.0
BLOCK_MS = 2000  # a blocking read asks for less than half of its socket's timeout


def open_redis(url: str, *, connections: int = 16) -> Redis:
    """A client that never repeats a command, for all but the hot path. Values are bytes."""
    pool = BlockingConnectionPool.from_url(  # callers beyond `connections` take turns
        url,
        protocol=2,
        decode_responses=False,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=COMMAND_TIMEOUT_S,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        max_connections=connections,
        timeout=COMMAND_TIMEOUT_S,  # how long a caller waits for its turn
    )
    return Redis.from_pool(pool)


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turn what redis-py raises into `Unavailable`, without Redis's own text for connections."""
    try:
        yield
    except redis.exceptions.ConnectionError as error:
        raise Unavailable("Redis does not answer", retry_after_s=1) from error
    except redis.exceptions.TimeoutError as error:
        raise Unavailable("Redis did not answer in time", retry_after_s=1) from error
    except redis.exceptions.RedisError as error:
        raise Unavailable(f"Redis refused: {_kind(error)}", retry_after_s=1) from error


_KINDS = re.compile(
    r"\b(OOM|READONLY|MISCONF|NOREPLICAS|LOADING|BUSY|NOPERM|NOAUTH|WRONGPASS|NOGROUP)\b"
)


def _kind(error: redis.exceptions.RedisError) -> str:
    """One word says enough. Redis 6.2 hides that of an error inside a script in a long text."""
    found = _KINDS.search(str(error))
    return found[1] if found else str(error).split(" ", 1)[0][:40]


async def check_redis(client: Redis, url: str) -> list[str]:
    """Warnings about settings that cannot keep the promise; ConfigError if Redis is no use."""
    try:
        info: dict[str, Any] = await client.info()
    except redis.exceptions.RedisError as error:
        raise ConfigError(f"REDIS_URL: {mask_url(url)} cannot be used: {error}") from error
    version = tuple(int(part) for part in str(info["redis_version"]).split(".")[:2])
    if version < (6, 2):
        raise ConfigError(f"REDIS_URL: Redis {info['redis_version']}, at least 6.2 is needed")
    warnings = []
    if info.get("maxmemory") and info.get("maxmemory_policy") != "noeviction":
        warnings.append("maxmemory-policy is not noeviction: Redis may evict accepted requests")
    if not info.get("aof_enabled"):
        warnings.append("appendonly is off: accepted requests do not survive a Redis restart")
    return warnings
