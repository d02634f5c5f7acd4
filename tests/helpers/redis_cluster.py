"""A real Redis Cluster: primaries that share the slots, their replicas, and slots that move."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import redis

from deploy.local.redis_server import RedisServer, start_redis
from shared.keys import Keys
from shared.slots import SLOTS, slot_of
from tests.helpers.wait import block_until

AT_ONCE = 100


class RedisCluster:
    """Primaries first, then a replica of each of the first `replicas` of them."""

    def __init__(self, nodes: list[RedisServer], primaries: int) -> None:
        self.nodes = nodes
        self.primaries = primaries
        self.admins = [redis.Redis.from_url(node.url) for node in nodes]
        self._names = count(1)

    @property
    def url(self) -> str:
        """What REDIS_URL may be: any node leads to the others."""
        return self.nodes[0].url

    def cell_at(self, node: int) -> str:
        """The name of a new cell whose slot that primary was given."""
        names = (f"c{number}" for number in self._names)
        return next(name for name in names if slot_of(Keys(name).prefix) in self._slots(node))

    def owner(self, cell: str) -> int:
        """The number of the node that has the cell; -1 if none has."""
        return next((n for n, admin in enumerate(self.admins) if _has(admin, cell)), -1)

    def begin_move(self, cell: str, source: int, target: int) -> None:
        """The slot of the cell is moving; its keys are where they were."""
        slot = slot_of(Keys(cell).prefix)
        self._run(target, "SETSLOT", slot, "IMPORTING", self._id(source))
        self._run(source, "SETSLOT", slot, "MIGRATING", self._id(target))

    def move_keys(self, cell: str, source: int, target: int, at_most: int | None = None) -> int:
        """Move the keys, or so many of them; how many moved."""
        slot, moved = slot_of(Keys(cell).prefix), 0
        where = self.admins[target].connection_pool.connection_kwargs
        while at_most is None or moved < at_most:
            wanted = AT_ONCE if at_most is None else at_most - moved
            keys = self._run(source, "GETKEYSINSLOT", slot, wanted)
            if not keys:
                break
            self.admins[source].execute_command(
                "MIGRATE", where["host"], where["port"], "", 0, 5000, "KEYS", *keys
            )
            moved += len(keys)
        return moved

    def end_move(self, cell: str, source: int, target: int) -> None:
        """The target owns the slot."""
        for node in (target, source):
            self._run(node, "SETSLOT", slot_of(Keys(cell).prefix), "NODE", self._id(target))

    def fail_over(self, node: int, *how: str) -> None:
        """The replica of a primary takes its place."""
        replica = self.admins[self.primaries + node]
        replica.execute_command("CLUSTER", "FAILOVER", *how)
        block_until(lambda: replica.info("replication")["role"] == "master")

    def join(self) -> None:
        """Make one cluster of the nodes."""
        for number, admin in enumerate(self.admins):
            admin.config_set("repl-diskless-sync-delay", 0)
            self._run(number, "SET-CONFIG-EPOCH", number + 1)
            where = self.admins[0].connection_pool.connection_kwargs
            admin.execute_command("CLUSTER", "MEET", where["host"], where["port"])
            if number < self.primaries:
                self._run(number, "ADDSLOTS", *self._slots(number))
        block_until(lambda: all(self._known(node) for node in range(len(self.nodes))))
        for node in range(self.primaries, len(self.nodes)):
            self._run(node, "REPLICATE", self._id(node - self.primaries))
        block_until(lambda: all(self._works(node) for node in range(len(self.nodes))))
        for node in range(self.primaries):  # a replica that has received nothing is not shown
            self.admins[node].set(Keys(self.cell_at(node)).epoch, 1, px=1)
        block_until(lambda: all(self._shows_all(node) for node in range(len(self.nodes))))

    def close(self) -> None:
        for admin in self.admins:
            admin.close()

    def _slots(self, node: int) -> range:
        share = -(-SLOTS // self.primaries)
        return range(node * share, min(SLOTS, (node + 1) * share))

    def _known(self, node: int) -> bool:
        return len(self._rows(node)) == len(self.nodes)

    def _works(self, node: int) -> bool:
        said = self.admins[node].info("replication")
        follows = node < self.primaries or said.get("master_link_status") == "up"
        return follows and b"cluster_state:ok" in self._raw(node, "INFO")

    def _shows_all(self, node: int) -> bool:
        shown = {bytes(of[2]) for row in self._raw(node, "SLOTS") for of in row[2:]}
        return len(shown) == len(self.nodes)

    def _rows(self, node: int) -> list[bytes]:
        found: bytes = self._raw(node, "NODES")
        return [row for row in found.split(b"\n") if row and b"handshake" not in row]

    def _id(self, node: int) -> str:
        return str(self._raw(node, "MYID").decode())

    def _run(self, node: int, *args: Any) -> Any:
        return self.admins[node].execute_command("CLUSTER", *args)

    def _raw(self, node: int, what: str) -> Any:
        """An answer as it comes: redis-py makes objects of some."""
        with redis.Redis.from_url(self.nodes[node].url) as client:
            client.response_callbacks.clear()
            return client.execute_command("CLUSTER", what)


def _has(admin: redis.Redis, cell: str) -> bool:
    try:
        return bool(admin.execute_command("EXISTS", Keys(cell).epoch))
    except redis.RedisError:
        return False


@contextmanager
def redis_cluster(
    folder: Path, primaries: int = 2, replicas: int = 0, binary: Path | None = None
) -> Iterator[RedisCluster]:
    """A running cluster; its nodes have ended with the block."""
    with ExitStack() as running:
        nodes = []
        for number in range(primaries + replicas):
            node = start_redis(
                folder / f"node-{number}", appendonly=False, binary=binary, in_cluster=True
            )
            running.callback(node.stop)
            nodes.append(node)
        made = RedisCluster(nodes, primaries)
        running.callback(made.close)
        made.join()
        yield made
