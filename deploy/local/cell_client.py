"""A client of the Redis of a cell, for what is asked rarely: at its start it finds the node."""

from __future__ import annotations

import redis
from redis.exceptions import MovedError

from shared.keys import Keys


def open_client(url: str, cell: str) -> redis.Redis:
    """A client of the node that has the cell now, whichever node of a Redis Cluster the URL names.
    redis-py's errors."""
    client = redis.Redis.from_url(url)
    try:
        client.exists(Keys(cell).prefix)
    except MovedError as error:
        client.connection_pool.disconnect()
        client = redis.Redis.from_url(url)
        options = client.connection_pool.connection_kwargs
        options.update({"host": error.host or options["host"], "port": error.port})
    return client
