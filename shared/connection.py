"""Connections to Redis: the only place that sets protocol, timeouts and retries.

redis-py 8 retries each command ten times by default and gives every socket a 5 s timeout. A
repeated script or XADD could run twice, and a blocking read would fail half-way, so retries are
off here and each caller handles a lost connection. Redis errors become ours (`Unavailable`)
at this edge.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import redis.exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from shared.errors import Unavailable
from shared.location import Address, Location, location_of
from shared.redis_url import is_unix, options_of
from shared.refusals import MEANING, NotSent, word_of

CONNECT_TIMEOUT_S = 3.0
# Below half of the default lease: one connection that went silent costs no process the lease.
COMMAND_TIMEOUT_S = 5.0
BLOCK_MS = 2000  # a blocking read asks for less than half of its socket's timeout
_KEEPALIVE = {
    getattr(socket, name): value
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)  # not every system lets one say so
}


class _ToTheCell:
    """A connection of redis-py's to the node that has the cell (`Location`)."""

    def __init__(self, *, location: Location, **options: Any) -> None:
        super().__init__(**options)
        self._location, self._at, self._made_at = location, location.address, -1

    async def connect(self) -> None:
        """Called each time that the pool lends it."""
        kept = cast(Any, self)
        if kept.is_connected and self._made_at != self._location.changes:
            await kept.disconnect()
        if not kept.is_connected:
            await self._location.reach(self._connect_to)

    async def _connect_to(self, at: Address) -> None:
        kept = cast(Any, self)
        self._at, self._made_at = at, self._location.changes
        if at.host:
            kept.host, kept.port = at
        await cast(Any, super()).connect()
        try:
            await self._location.settle(self._ask, at)
        except BaseException:
            await kept.disconnect(nowait=True)
            raise

    async def _ask(self, *args: Any) -> Any:
        kept = cast(Any, self)
        await kept.send_command(*args, check_health=False)
        return await cast(Any, super()).read_response()

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """An answer. After one that shows that another node has the cell, this is used no more."""
        try:
            return await cast(Any, super()).read_response(*args, **options)
        except redis.exceptions.ResponseError as error:
            self._location.note(error, self._at)
            raise


class _Tcp(_ToTheCell, Connection): ...


class _Tls(_ToTheCell, SSLConnection): ...


class _Unix(_ToTheCell, UnixDomainSocketConnection): ...


def open_redis(url: str, cell: str = "", *, connections: int = 16) -> Redis:
    """A client that never repeats a command, for all but the hot path. Values are bytes. It follows
    the cell in a Redis Cluster."""
    kind = _Unix if is_unix(url) else _Tls if url.startswith("rediss:") else _Tcp
    keepalive: dict[str, Any] = (
        {} if is_unix(url) else {"socket_keepalive": True, "socket_keepalive_options": _KEEPALIVE}
    )
    pool = BlockingConnectionPool(  # callers beyond `connections` take turns
        **options_of(url),
        connection_class=kind,
        location=location_of(url, cell),
        protocol=2,
        decode_responses=False,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=COMMAND_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        max_connections=connections,
        timeout=COMMAND_TIMEOUT_S,  # how long a caller waits for its turn
        **keepalive,
    )
    return Redis.from_pool(pool)


def keep_alive(sock: socket.socket | None) -> None:
    """Make the system detect a dead silent connection within half a minute."""
    if sock is None or sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turn errors of redis-py into `Unavailable`, without Redis's own text for connections."""
    try:
        yield
    except redis.exceptions.RedisError as error:
        raise Unavailable(_reason(error), retry_after_s=1) from error


def may_have_run(error: Unavailable) -> bool:
    """Whether a failed call may have run: its answer was lost, or did not arrive."""
    cause = error.__cause__
    if not isinstance(cause, redis.exceptions.RedisError):
        return True  # nothing is known
    lost = isinstance(cause, redis.exceptions.ConnectionError | redis.exceptions.TimeoutError)
    return lost and not isinstance(cause, NotSent) and not word_of(cause)


def refuses_data(error: Unavailable) -> bool:
    """Whether Redis refused a call for what is stored, a key of another type: it would again."""
    cause = error.__cause__
    return type(cause) is redis.exceptions.ResponseError and not word_of(cause)


def _reason(error: redis.exceptions.RedisError) -> str:
    if word := word_of(error):
        return f"Redis refused: {word}, {MEANING[word]}"
    if isinstance(error, redis.exceptions.ConnectionError):
        return "Redis does not answer"
    if isinstance(error, redis.exceptions.TimeoutError):
        return "Redis did not answer in time"
    return f"Redis refused: {str(error).split(' ', 1)[0][:40]}"
