"""The gateway's side of shared memory: when it may be used, how much of it, and whose it was."""

from __future__ import annotations

from shared.channel import Channel
from shared.connection import redis_errors
from shared.envelope import Envelope, Outcome, unpack_outcome
from shared.errors import Overloaded
from shared.keys import Keys
from shared.shared_memory import BULK_BYTES, SharedMemoryStore, is_reference, size_of

LOOK_EVERY_S = 1.0


class GatewaySharedMemory:
    """Large tensors of this gateway's waiting callers. Without a `bulk` all goes through Redis."""

    def __init__(
        self,
        channel: Channel,
        keys: Keys,
        gateway: str,
        bulk: SharedMemoryStore | None,
        limit_bytes: int,
    ) -> None:
        self._channel = channel
        self._keys = keys
        self._gateway = gateway
        self._bulk = bulk
        self._limit = limit_bytes
        self._held: dict[str, int] = {}
        self._used = 0
        self._all_here = False

    def put(self, request_id: str, envelope: Envelope) -> bytes | None:
        """A reference in place of a large envelope; None if it must go through Redis.

        Overloaded when the memory for such requests is used up.
        """
        size = size_of(envelope)
        if self._bulk is None or not self._all_here or size < BULK_BYTES:
            return None
        if self._used + size > self._limit:
            raise Overloaded(f"the limit of {self._limit} bytes of large tensors is reached")
        self._held[request_id] = size
        self._used += size
        try:
            return self._bulk.put(self._gateway, request_id, "in", envelope)
        except OSError:
            self.drop(request_id)
            return None

    def holds(self, request_id: str) -> bool:
        """Whether a request's tensors lie in this gateway's memory, and go with it."""
        return request_id in self._held

    def drop(self, request_id: str) -> None:
        """A request has ended: its memory goes."""
        size = self._held.pop(request_id, None)
        if size is not None and self._bulk is not None:
            self._used -= size
            self._bulk.drop(self._gateway, request_id)

    def outcome(self, raw: bytes) -> Outcome:
        """An outcome, wherever it lies."""
        if self._bulk is None or not is_reference(raw):
            return unpack_outcome(raw)
        return self._bulk.take_outcome(raw)

    async def look_once(self) -> bool:
        """See whether every worker shares this host's memory, and clean up after dead gateways."""
        if self._bulk is None:
            return False
        # Not by redis-py's client, whose send swallows a cancellation: the loop would never stop.
        call = self._channel.execute_command
        with redis_errors():
            workers = await call("ZRANGE", self._keys.workers, 0, -1)
            hosts = [await call("HGET", self._keys.worker(w.decode()), "host_id") for w in workers]
            gateways = await call("ZRANGE", self._keys.gateways, 0, -1)
        # Not before this gateway has a lease, and again if it had lost it: others take away the
        # folders of gateways that they do not know.
        self._bulk.open_folder(self._gateway)
        self._all_here = bool(hosts) and all(h == self._bulk.host.encode() for h in hosts)
        self._bulk.drop_unclaimed(self._gateway)
        self._bulk.close_all_but({self._gateway, *(name.decode() for name in gateways)})
        return self._all_here

    def close(self) -> None:
        """Leave nothing behind."""
        if self._bulk is not None:
            self._bulk.close_folder(self._gateway)
