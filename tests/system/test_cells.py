"""Two real cells under load: the Redis of one is killed and comes back, a third cell is added, and
the gateway that does not know it goes. No accepted request is lost, none runs twice under one key.

Every request has a key, and is repeated until it is accepted. So the requests that the cells have
must be those that were accepted, one for each key, although models move to the new cell meanwhile.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from deploy.local.redis_server import start_redis
from shared.cell_list import tag_of
from tests.helpers.models import Mlp, publish_mlp
from tests.helpers.stack import Stack
from tests.helpers.wait import block_until
from warmroute import Client, ClientError

MODELS = 12
THREADS = 3
SLOT_S = 0.01


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """Two cells with a worker each."""
    (tmp_path / "repository").mkdir()
    with Stack(tmp_path, (tmp_path / "repository").as_uri(), cells=2) as made:
        for cell in made.cells:
            made.add_worker(cell=cell)
        yield made


class Load:
    """Threads that submit until they are stopped; `ids` by key, and what each was."""

    def __init__(self, models: list[Mlp], url: str) -> None:
        self.models = models
        self.url = url
        self.ids: dict[str, set[str]] = {}
        self.asked: dict[str, tuple[Mlp, int]] = {}
        self.refused: dict[str, int] = {}
        self._number = itertools.count()
        self._stop, self._failed = threading.Event(), False
        self._threads = [threading.Thread(target=self._run) for _ in range(THREADS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: object, *raised: object) -> None:
        self._failed = kind is not None
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        waiting: list[str] = []
        while not self._stop.is_set() or (waiting and not self._failed):
            if not self._stop.is_set():
                number = next(self._number)
                key = f"key-{number}"
                self.asked[key] = self.models[number % len(self.models)], number
                waiting.append(key)
            waiting = [key for key in waiting if not self._accepted(key)]
            time.sleep(SLOT_S)

    def _accepted(self, key: str) -> bool:
        model, number = self.asked[key]
        try:
            with Client(self.url, retries=0, timeout=5) as client:
                pending = client.submit(
                    model.name, model.question(number), idempotency_key=key, timeout=600
                )
        except ClientError:
            self.refused[model.name] = self.refused.get(model.name, 0) + 1
            return False
        self.ids.setdefault(key, set()).add(pending.id)
        return True

    def wait_for(self, more: int) -> None:
        """Until so many more have been accepted."""
        until = len(self.ids) + more
        block_until(lambda: len(self.ids) >= until, within_s=60)


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
    with Load(models, old.url) as load:
        load.wait_for(100)
        restart(stack)
        load.wait_for(100)
        stack.servers.add_redis()
        stack.add_worker(cell=stack.cells[2])
        load.url = stack.add_gateway().url
        os.kill(old.child.pid, signal.SIGTERM)
        load.wait_for(100)
    assert [ids for ids in load.ids.values() if len(ids) > 1] == []
    assert load.ids.keys() == load.asked.keys()
    with Client(load.url, timeout=60) as client:
        for key, (request_id,) in ((key, tuple(ids)) for key, ids in load.ids.items()):
            model, number = load.asked[key]
            said = client.pending(request_id).result(timeout=60)
            assert model.right(model.question(number), said["y"]), key
    accepted = {request_id for ids in load.ids.values() for request_id in ids}
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
