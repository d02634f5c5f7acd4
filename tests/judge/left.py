"""What must be gone when every request has ended: one list for simulation, failpoints and chaos.

The names come from `shared/keys.py`, so a key that is renamed there is still looked for.
"""

from __future__ import annotations

from typing import Any, Protocol

import redis

from shared.keys import Keys


class Store(Protocol):
    """How one engine looks into its Redis."""

    def names(self) -> list[str]:
        """Every key."""

    def length(self, stream: str) -> int:
        """How many entries a stream has."""

    def pending(self, stream: str) -> int:
        """How many entries its groups have been given and have not acknowledged."""


class RedisStore:
    """Looks with a client of redis-py that does not decode."""

    def __init__(self, client: redis.Redis) -> None:
        self._client: Any = client

    def names(self) -> list[str]:
        return [key.decode() for key in self._client.scan_iter(count=1000)]

    def length(self, stream: str) -> int:
        return int(self._client.xlen(stream))

    def pending(self, stream: str) -> int:
        try:
            return sum(group["pending"] for group in self._client.xinfo_groups(stream))
        except redis.exceptions.ResponseError:  # gone by now
            return 0


def left_over(store: Store, keys: Keys, *, loads: bool = True) -> list[str]:
    """What still waits or runs, or is kept for something that did; [] when all is over.

    `loads` also counts what is being loaded, which goes on without any request.
    """
    streams = (keys.work(""), keys.parked(""), keys.ingress, keys.outbox, keys.failures)
    gone = (keys.started(""), keys.parked(""), *((keys.load(""), keys.loads("")) if loads else ()))
    # RQ's own notes begin with the name of the queue too, and expire.
    alone = (
        keys.parked_refs,
        keys.deadlines,
        *((keys.rq_queue(), keys.waiting_orders) if loads else ()),
    )
    found = []
    for name in store.names():
        if name in alone or name.startswith(gone):
            found.append(f"{name} is still there")
        if name.startswith(streams) and (store.length(name) or store.pending(name)):
            found.append(f"{name}: {store.length(name)} entries, {store.pending(name)} pending")
    return found
