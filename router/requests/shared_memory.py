"""The gateway's side of shared memory: when it may be used, how much of it, and its clean-up."""

from __future__ import annotations

import asyncio

from shared.channel import Channel
from shared.connection import redis_errors
from shared.envelope import Envelope, Outcome, unpack_outcome
from shared.errors import Overloaded
from shared.keys import Keys
from shared.shared_memory import SHARED_MEMORY_FROM_BYTES, SharedMemoryStore, is_reference, size_of

LOOK_EVERY_S = 1.0


class HeldBytes:
    """What a gateway holds in shared memory, for all cells together."""

    def __init__(self) -> None:
        self.number = 0


class GatewaySharedMemory:
    """Large tensors of this gateway's waiting callers in one cell. Without a `store` all go through
    Redis. `total`: what counts towards the limit."""

    def __init__(
        self,
        channel: Channel,
        keys: Keys,
        gateway: str,
        store: SharedMemoryStore | None,
        limit_bytes: int,
        total: HeldBytes | None = None,
    ) -> None:
        self._channel = channel
        self._keys = keys
        self._gateway = gateway
        self._store = store
        self._limit = limit_bytes
        self._held: dict[str, int] = {}
        self._total = total or HeldBytes()
        self._all_here = False

    def put(self, request_id: str, envelope: Envelope) -> bytes | None:
        """A reference in place of a large envelope; None if it must go through Redis.

        Overloaded when the memory for such requests is used up.
        """
        size = size_of(envelope)
        if self._store is None or not self._all_here or size < SHARED_MEMORY_FROM_BYTES:
            return None
        if self._total.number + size > self._limit:
            raise Overloaded(
                f"large tensors at this gateway take {self._limit} bytes, its limit; retry later"
            )
        self._held[request_id] = size
        self._total.number += size
        try:
            return self._store.put(self._gateway, request_id, "in", envelope)
        except OSError:
            self.drop(request_id)
            return None

    def holds(self, request_id: str) -> bool:
        """Whether a request's tensors are in this gateway's memory, which ends with it."""
        return request_id in self._held

    def drop(self, request_id: str) -> None:
        """Free the memory of a request that has ended."""
        size = self._held.pop(request_id, None)
        if size is not None and self._store is not None:
            self._total.number -= size
            self._store.drop(self._gateway, request_id)

    def outcome(self, raw: bytes) -> Outcome:
        """Unpack an outcome, from shared memory if it is a reference."""
        if self._store is None or not is_reference(raw):
            return unpack_outcome(raw)
        return self._store.take_outcome(raw)

    async def look_once(self) -> bool:
        """Check whether every worker shares this host's memory; clean up after dead gateways."""
        if self._store is None:
            return False
        # Not by redis-py's client, whose send swallows a cancellation: the loop would never stop.
        call = self._channel.execute_command
        with redis_errors():
            here, workers, gateways = await asyncio.gather(
                call("SCARD", self._keys.host(self._store.host)),
                call("ZCARD", self._keys.workers),
                call("ZRANGE", self._keys.gateways, 0, -1),
            )
        self._all_here = 0 < here == workers
        self._all_here &= self._keep_in_order(self._store, {name.decode() for name in gateways})
        return self._all_here

    def _keep_in_order(self, store: SharedMemoryStore, gateways: set[str]) -> bool:
        """Whether this gateway's folder can be used. It is not made before this gateway has a
        lease, and made again if it had lost it: other gateways delete the folders of gateways
        without one."""
        try:
            store.open_folder(self._gateway)
            store.drop_unclaimed(self._gateway)
            store.close_all_but({self._gateway, *gateways})
        except OSError as error:
            store.warn(error)
            return False
        return True

    def close(self) -> None:
        """Delete this gateway's folder."""
        if self._store is not None:
            self._store.close_folder(self._gateway)
            self._store.leave()
