"""Tools find the node of a cell, whichever node of a Redis Cluster they were given."""

from __future__ import annotations

from pathlib import Path

from deploy.local.cell_client import open_client
from deploy.local.redis_server import RedisServer
from shared.keys import Keys
from tests.helpers.redis_cluster import redis_cluster


def test_a_client_is_at_the_node_of_the_cell(tmp_path: Path) -> None:
    """It writes there."""
    with redis_cluster(tmp_path, primaries=2) as nodes:
        for at in (0, 1):
            name = nodes.cell_at(at)
            for node in nodes.nodes:
                with open_client(node.url, name) as client:
                    assert client.set(Keys(name).epoch, "1")
            assert nodes.owner(name) == at


def test_a_redis_alone_is_where_it_is(redis_server: RedisServer) -> None:
    with open_client(redis_server.url, "cell-client") as client:
        assert client.ping()
