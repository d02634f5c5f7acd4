"""Two real cells under load: the Redis of one is killed and comes back, a third cell is added, and
the gateway that does not know it goes. No accepted request is lost, none runs twice under one key.

Every request has a key, and is repeated until it is accepted. So the requests that the cells have
must be those that were accepted, one for each key, although models move to the new cell meanwhile.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from deploy.local.redis_server import start_redis
from shared.cell_list import tag_of
from tests.helpers.keyed_load import KeyedLoad
from tests.helpers.models import publish_mlp
from tests.helpers.stack import Stack

MODELS = 12


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """Two cells with a worker each."""
    (tmp_path / "repository").mkdir()
    with Stack(tmp_path, (tmp_path / "repository").as_uri(), cells=2) as made:
        for cell in made.cells:
            made.add_worker(cell=cell)
        yield made


def restart(stack: Stack) -> None:
    """kill -9 to the Redis of the second cell, and another one on its folder and port."""
    old = stack.servers.more_redis[0]
    old.child.kill()
    port = int(old.url.rpartition(":")[2].partition("/")[0])
    time.sleep(1.0)  # for its callers to notice
    stack.servers.more_redis[0] = start_redis(stack.folder / "redis-2", port=port)


def test_no_request_is_lost_or_doubled(stack: Stack) -> None:
    models = [publish_mlp(stack.repository, stack.folder) for _ in range(MODELS)]
    old = stack.add_gateway()
    with KeyedLoad(models, old.url) as load:
        load.wait_for(100)
        restart(stack)
        load.wait_for(100)
        stack.servers.add_redis()
        stack.add_worker(cell=stack.cells[2])
        load.url = stack.add_gateway().url
        os.kill(old.child.pid, signal.SIGTERM)
        load.wait_for(100)
    accepted = load.check()
    assert sorted(kept(stack)) == sorted(accepted)
    tags = {request_id[:4] for request_id in accepted}
    assert tags == {tag_of(cell.name) for cell in stack.cells}


def kept(stack: Stack) -> list[str]:
    """The ids of the records in all cells."""
    found = []
    for cell in stack.cells:
        with redis.Redis.from_url(cell.redis_url) as client:
            start = f"{{{cell.name}}}:request:"
            found += [key.decode().removeprefix(start) for key in client.scan_iter(f"{start}*")]
    return found
