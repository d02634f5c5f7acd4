"""When large tensors may take the short way through shared memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from router.requests.shared_memory import GatewaySharedMemory
from shared.envelope import Envelope, Outcome, pack
from shared.errors import Overloaded
from shared.shared_memory import BULK_BYTES, SharedMemoryStore, is_reference, open_shared_memory
from tests.helpers.cell import Cell
from tests.helpers.factories import tensor

GATEWAY = "gw-0123456789ab"
LARGE = Envelope([tensor(np.zeros(BULK_BYTES, "u1"), "x")])
SMALL = Envelope([tensor(np.zeros(BULK_BYTES - 1, "u1"), "x")])
ID = "0" * 32


@pytest.fixture
def memory(tmp_path: Path) -> SharedMemoryStore:
    """A folder that stands for shared memory."""
    made = open_shared_memory(str(tmp_path), "c", "redis://r")
    assert made is not None
    return made


@pytest.fixture
def bulk(cell: Cell, memory: SharedMemoryStore) -> GatewaySharedMemory:
    """The gateway's side of it, with room for two large requests."""
    return GatewaySharedMemory(cell.channel, cell.keys, GATEWAY, memory, 2 * BULK_BYTES)


async def worker_on(cell: Cell, name: str, host: str) -> None:
    """A registered worker that sees the memory called `host`."""
    await cell.scripts.register(name, 10_000, 3, {"host_id": host})


async def test_only_while_every_worker_shares_the_memory(cell, bulk, memory) -> None:
    """Not without workers, not if one of them is elsewhere."""
    await bulk.look_once()
    assert bulk.put(ID, LARGE) is None
    await worker_on(cell, "w1", memory.host)
    assert await bulk.look_once()
    reference = bulk.put(ID, LARGE)
    assert reference is not None and is_reference(reference)
    assert memory.get_request(reference) == LARGE
    await worker_on(cell, "w2", "another")
    assert not await bulk.look_once()
    assert bulk.put("1" * 32, LARGE) is None


async def test_small_tensors_go_through_redis(cell, bulk, memory) -> None:
    """There that is as fast."""
    await worker_on(cell, "w1", memory.host)
    await bulk.look_once()
    assert bulk.put(ID, SMALL) is None


async def test_its_memory_is_bounded_and_comes_back(cell, bulk, memory) -> None:
    """The third is told to come back; when one has ended there is room."""
    await worker_on(cell, "w1", memory.host)
    await bulk.look_once()
    for n in range(2):
        bulk.put(f"{n:032x}", LARGE)
    with pytest.raises(Overloaded, match=str(2 * BULK_BYTES)):
        bulk.put(ID, LARGE)
    bulk.drop(f"{1:032x}")
    assert bulk.put("f" * 32, LARGE) is not None


async def test_an_outcome_is_found_wherever_it_lies(bulk, memory) -> None:
    """In the reply itself, or in a file that goes with being read."""
    await bulk.look_once()
    outcome = Outcome([tensor(np.arange(3, dtype="<f4"), "y")])
    assert bulk.outcome(pack(outcome)) == outcome
    reference = memory.put(GATEWAY, ID, "out", outcome)
    assert bulk.outcome(reference) == outcome


async def test_a_folder_that_was_taken_away_comes_back(cell, bulk, memory) -> None:
    """Another gateway that does not know this one (it starts, or had lost its lease) cleans up."""
    await worker_on(cell, "w1", memory.host)
    await bulk.look_once()
    assert memory.close_all_but(set()) == 1
    assert bulk.put(ID, LARGE) is None
    assert await bulk.look_once()
    assert bulk.put(ID, LARGE) is not None


async def test_what_lies_in_its_memory_is_known(cell, bulk, memory) -> None:
    """Until the request has ended: a gateway that stops cannot hand it over."""
    await worker_on(cell, "w1", memory.host)
    await bulk.look_once()
    bulk.put(ID, LARGE)
    assert bulk.holds(ID) and not bulk.holds("1" * 32)
    bulk.drop(ID)
    assert not bulk.holds(ID)


async def test_without_shared_memory_all_goes_through_redis(cell) -> None:
    """The setting is off, or the folder cannot be used."""
    bulk = GatewaySharedMemory(cell.channel, cell.keys, GATEWAY, None, 1)
    assert not await bulk.look_once()
    assert bulk.put(ID, LARGE) is None
    bulk.drop(ID)
    bulk.close()
