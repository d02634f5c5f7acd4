"""Where the Redis of a cell answers: what REDIS_URL names or, in a Redis Cluster, the node that
owns the slot of the cell.

All keys of a cell have its hash tag, so one node has them all, and a connection to that node is all
that a cell needs. Every connection is made through `reach`. In a cluster it asks the node for the
cell's own key, `{cell}`, before it is used: another node answers MOVED, which names the owner. A
connection that gets MOVED later is given up, and the next one is made to the owner. Nothing is
asked of a Redis that is not in a cluster.

The key `{cell}` never exists, and every script declares it. So while a slot moves (MIGRATING),
Redis refuses each script of the cell with ASK before it starts: no script ever sees half of the
keys. ASK is not followed; calls fail, certainly without having run, until the slot has moved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

import redis.exceptions
from redis.exceptions import AskError, ClusterDownError, MovedError

from shared.keys import Keys
from shared.redis_url import options_of
from shared.refusals import word_of
from shared.slots import slot_of

MAX_HOPS = 8  # from node to node until a connection is open
DEFAULT_PORT = 6379
UNKNOWN_HOST = "?"  # a node that should announce a name and has none

Opened = TypeVar("Opened")


class Address(NamedTuple):
    """Of a server; `host` is empty for a socket in the file system."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Location:
    """Of one cell, as the connections of a process have found it. They share one."""

    def __init__(self, url: str, cell: str = "") -> None:
        options = options_of(url)
        host = "" if "path" in options else options.get("host", "localhost")
        self.named = Address(host, int(options.get("port", DEFAULT_PORT)))
        self.database = int(options.get("db") or 0)
        self.key = Keys(cell).prefix if cell else ""
        self.slot = slot_of(self.key) if cell else -1
        self.in_cluster = False
        self.address = self.named
        self.changes = 0  # a connection made before the last one is not used again
        self._nodes: list[Address] = []
        self._owner: Address | None = None  # as the cluster names it
        self._failed: Address | None = None  # an owner that could not be reached

    def enter_cluster(self) -> None:
        """What REDIS_URL names is a node of a cluster."""
        if not self.in_cluster:
            self.in_cluster, self.changes = True, self.changes + 1

    def note(self, error: BaseException | None, at: Address) -> None:
        """Draw the conclusion from what a connection in use was answered, or lost for."""
        if isinstance(error, MovedError):
            self.moved(error, at)
        elif isinstance(error, ClusterDownError):
            self.failed(at)

    def moved(self, error: MovedError, asked: Address) -> bool:
        """Follow what the node at `asked` said; False if it said so of another slot."""
        if error.slot_id != self.slot:
            return False
        self.enter_cluster()
        self._owner = Address(error.host or asked.host, error.port)
        self._use(self._owner)
        return True

    def failed(self, address: Address) -> bool:
        """The node does not serve: another one will be asked. False if none is known."""
        known = list(dict.fromkeys([self.named, *self._nodes]))
        if not self.in_cluster or not set(known) - {address}:
            return False
        if address == self.address:  # else another connection has found the same
            self._failed = address if address == self._owner else self._failed
            at = known.index(address) if address in known else -1
            self._use(known[(at + 1) % len(known)])
        return True

    def has_node(self, address: Address) -> bool:
        """Whether it is one of the nodes of the cluster, as that names them."""
        return address in self._nodes

    def trouble(self) -> str:
        """What a person should know of an owner that cannot be reached; '' if nothing."""
        if not self._failed:
            return ""
        return (
            f"; its cluster names {self._failed} as the node of slot {self.slot}, that of "
            f"{self.key}: can this address be reached from here (cluster-announce-ip)?"
        )

    async def reach(
        self, open_at: Callable[[Address], Awaitable[Opened]], within_s: float | None = None
    ) -> Opened:
        """What `open_at` makes of the address that has the cell; its error if there is none. It
        ends with `settle`, and has so many seconds for each address."""
        for hops_left in reversed(range(MAX_HOPS)):
            at = self.address
            try:
                async with asyncio.timeout(within_s):
                    return await open_at(at)
            except MovedError as error:
                if not self.moved(error, at) or not hops_left:
                    raise
            except (TimeoutError, redis.exceptions.TimeoutError):
                self.failed(at)  # for the next call: this one has waited long enough
                raise
            except (OSError, redis.exceptions.ConnectionError, ClusterDownError) as error:
                if word_of(error) not in ("", "CLUSTERDOWN"):
                    raise  # it is there: a wrong password, too many connections, data being read
                if not self.failed(at) or not hops_left:
                    raise
        raise AssertionError("the last hop returns or raises. This is a bug.")

    async def settle(self, ask: Callable[..., Awaitable[Any]], at: Address) -> None:
        """Check a new connection: MovedError if another node has the cell, ClusterDownError if none
        has. Learns the nodes once, to ask them if this one goes: to list them costs Redis much, and
        after a failover a whole fleet connects."""
        if not self.in_cluster:
            return
        try:
            await ask("EXISTS", self.key)
        except MovedError:
            raise
        except AskError:
            pass  # its slot is about to move: until then it is here
        self._failed = None
        if not self._nodes:
            with suppress(redis.exceptions.ResponseError):  # its user may not ask
                self._nodes = _nodes_of(await ask("CLUSTER", "SLOTS"), at)

    def _use(self, address: Address) -> None:
        if address != self.address:
            self.address, self.changes = address, self.changes + 1


async def followed(call: Callable[[], Awaitable[Opened]]) -> Opened:
    """What `call()` answers. It is made again if it found that another node has the cell: that did
    not run it, and the connection after it is made to the owner."""
    try:
        return await call()
    except MovedError:
        return await call()


def location_of(url: str, cell: str) -> Location:
    """The one that all connections of this process to the cell share. Without a cell, that of one
    connection, which stays where the URL leads."""
    if not cell:
        return Location(url)
    return _LOCATIONS.setdefault((url, cell), Location(url, cell))


_LOCATIONS: dict[tuple[str, str], Location] = {}


def _nodes_of(slots: list[Any], asked: Address) -> list[Address]:
    """The nodes of an answer to CLUSTER SLOTS: rows of first, last, then a node each."""
    found = [
        Address((host or b"").decode() or asked.host, int(port))
        for row in slots
        for host, port, *_ in row[2:]
    ]
    return [each for each in dict.fromkeys(found) if each.host != UNKNOWN_HOST and each.port]
