"""When large tensors may take the short way through shared memory."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import numpy as np
import pytest

from router.requests.shared_memory import GatewaySharedMemory
from shared.envelope import Envelope, Outcome, pack
from shared.errors import Overloaded
from shared.shared_memory import (
    SHARED_MEMORY_FROM_BYTES,
    SharedMemoryStore,
    is_reference,
    open_shared_memory,
)
from tests.helpers.cell import Cell
from tests.helpers.factories import tensor

GATEWAY = "gw-0123456789ab"
LARGE = Envelope([tensor(np.zeros(SHARED_MEMORY_FROM_BYTES, "u1"), "x")])
SMALL = Envelope([tensor(np.zeros(SHARED_MEMORY_FROM_BYTES - 1, "u1"), "x")])
ID = "0" * 32


@pytest.fixture
def memory(tmp_path: Path) -> SharedMemoryStore:
    """A folder that stands for shared memory."""
    made = open_shared_memory(str(tmp_path), "c", "redis://r")
    assert made is not None
    return made


@pytest.fixture
def store(cell: Cell, memory: SharedMemoryStore) -> GatewaySharedMemory:
    """The gateway's side of it, with room for two large requests."""
    return GatewaySharedMemory(
        cell.channel, cell.keys, GATEWAY, memory, 2 * SHARED_MEMORY_FROM_BYTES
    )


async def worker_on(cell: Cell, name: str, host: str) -> None:
    """A registered worker that sees the memory called `host`."""
    await cell.scripts.register(name, 10_000, 3, {"host_id": host})


async def test_only_while_every_worker_shares_the_memory(cell, store, memory) -> None:
    """Not without workers, not if one of them is elsewhere."""
    await store.look_once()
    assert store.put(ID, LARGE) is None
    await worker_on(cell, "w1", memory.host)
    assert await store.look_once()
    reference = store.put(ID, LARGE)
    assert reference is not None and is_reference(reference)
    assert memory.get_request(reference) == LARGE
    await worker_on(cell, "w2", "another")
    assert not await store.look_once()
    assert store.put("1" * 32, LARGE) is None


async def test_where_a_worker_is_follows_its_registration(cell, store, memory) -> None:
    """Also when it comes back elsewhere, or has left; one that an older release registered is
    nowhere, so its tensors go through Redis."""
    await worker_on(cell, "w1", memory.host)
    await worker_on(cell, "w2", "another")
    await worker_on(cell, "w2", memory.host)
    assert await store.look_once()
    await worker_on(cell, "w1", "another")
    assert not await store.look_once()
    epoch = await cell.client.hget(cell.keys.worker("w1"), "epoch")
    await cell.scripts.leave("w1", epoch.decode(), 3)
    assert await store.look_once()
    assert await cell.exists(cell.keys.host("another")) == []
    await cell.client.srem(cell.keys.host(memory.host), "w2")
    assert not await store.look_once()


async def test_small_tensors_go_through_redis(cell, store, memory) -> None:
    """There that is as fast."""
    await worker_on(cell, "w1", memory.host)
    await store.look_once()
    assert store.put(ID, SMALL) is None


async def test_its_memory_is_bounded_and_comes_back(cell, store, memory) -> None:
    """The third is told to come back; when one has ended there is room."""
    await worker_on(cell, "w1", memory.host)
    await store.look_once()
    for n in range(2):
        store.put(f"{n:032x}", LARGE)
    with pytest.raises(Overloaded, match=str(2 * SHARED_MEMORY_FROM_BYTES)):
        store.put(ID, LARGE)
    store.drop(f"{1:032x}")
    assert store.put("f" * 32, LARGE) is not None


async def test_an_outcome_is_found_wherever_it_lies(store, memory) -> None:
    """In the reply itself, or in a file that goes with being read."""
    await store.look_once()
    outcome = Outcome([tensor(np.arange(3, dtype="<f4"), "y")])
    assert store.outcome(pack(outcome)) == outcome
    reference = memory.put(GATEWAY, ID, "out", outcome)
    assert store.outcome(reference) == outcome


async def test_a_folder_that_was_taken_away_comes_back(cell, store, memory) -> None:
    """Another gateway that does not know this one (it starts, or had lost its lease) cleans up."""
    await worker_on(cell, "w1", memory.host)
    await store.look_once()
    assert memory.close_all_but(set()) == 1
    assert store.put(ID, LARGE) is None
    assert await store.look_once()
    assert store.put(ID, LARGE) is not None


async def test_what_lies_in_its_memory_is_known(cell, store, memory) -> None:
    """Until the request has ended: a gateway that stops cannot hand it over."""
    await worker_on(cell, "w1", memory.host)
    await store.look_once()
    store.put(ID, LARGE)
    assert store.holds(ID) and not store.holds("1" * 32)
    store.drop(ID)
    assert not store.holds(ID)


async def test_without_shared_memory_all_goes_through_redis(cell) -> None:
    """The setting is off, or the folder cannot be used."""
    store = GatewaySharedMemory(cell.channel, cell.keys, GATEWAY, None, 1)
    assert not await store.look_once()
    assert store.put(ID, LARGE) is None
    store.drop(ID)
    store.close()


@pytest.mark.parametrize("fault", [errno.EROFS, errno.ENOSPC, errno.EACCES])
async def test_memory_that_cannot_be_written_falls_back_to_redis_with_one_warning(
    cell, store, memory, monkeypatch, caplog, fault
) -> None:
    """Whatever the system refuses from then on: to write, to remove, to make the folder."""
    await worker_on(cell, "w1", memory.host)
    assert await store.look_once()
    assert store.put(ID, LARGE) is not None

    def refuse(*args, **kwargs):
        raise OSError(fault, os.strerror(fault))

    for target, name in [(os, "open"), (Path, "unlink"), (Path, "mkdir"), (Path, "rename")]:
        monkeypatch.setattr(target, name, refuse)
    with caplog.at_level(logging.WARNING):
        for number in range(1, 4):
            assert store.put(f"{number}" * 32, LARGE) is None
            assert not store.holds(f"{number}" * 32)
        store.drop(ID)
        assert not await store.look_once()
    assert caplog.text.count("large tensors go through Redis") == 1
    monkeypatch.undo()
    assert await store.look_once()
    assert store.put(ID, LARGE) is not None
