"""claim_device.lua: a GPU has one worker. The heartbeat keeps it (I35)."""

from __future__ import annotations

import asyncio

import pytest

from tests.helpers.cell import LEASE_MS, Cell, open_cell
from tests.lua.fleet import worker

FIRST, SECOND = "GPU-1", "GPU-2"


async def claim(cell: Cell, name: str, *uuids: str) -> int:
    return await cell.scripts.claim_device(name, LEASE_MS, uuids)


async def owner(cell: Cell, uuid: str) -> bytes | None:
    holder: bytes | None = await cell.client.get(cell.keys.device(uuid))
    return holder


async def test_the_first_free_one_is_taken_in_the_order_of_preference(cell: Cell) -> None:
    """And the next worker gets the next; the claim has a lifetime."""
    assert await claim(cell, "w1", FIRST, SECOND) == 0
    assert await claim(cell, "w2", FIRST, SECOND) == 1
    assert 0 < await cell.client.pttl(cell.keys.device(FIRST)) <= LEASE_MS
    assert (await owner(cell, FIRST), await owner(cell, SECOND)) == (b"w1", b"w2")


async def test_when_none_is_free_none_is_taken(cell: Cell) -> None:
    """Nor when there is none at all."""
    await claim(cell, "w1", FIRST)
    assert await claim(cell, "w2", FIRST) == -1
    assert await claim(cell, "w2") == -1
    assert await owner(cell, FIRST) == b"w1"


async def test_its_own_comes_before_a_free_one(cell: Cell) -> None:
    """A worker that begins again finds its GPU, and leaves the other to others."""
    await claim(cell, "w1", SECOND)
    assert await claim(cell, "w1", FIRST, SECOND) == 1
    assert await cell.exists(cell.keys.device(FIRST)) == []


async def test_of_many_that_claim_at_once_each_gets_another(cell: Cell) -> None:
    """Ten workers over ten connections, nine GPUs."""
    uuids = [f"GPU-{number}" for number in range(9)]
    cells = [open_cell(cell.url, cell.name) for _ in range(10)]
    try:
        taken = await asyncio.gather(*(
            claim(own, f"w{number}", *uuids) for number, own in enumerate(cells)
        ))  # fmt: skip
    finally:
        for own in cells:
            await own.close()
    assert sorted(taken) == list(range(-1, 9))


async def test_a_beat_keeps_the_claim_for_longer_than_the_lease(cell: Cell) -> None:
    """So that a worker that is late does not lose it to another."""
    epoch = await worker(cell, gpu_uuid=FIRST)
    assert await cell.scripts.heartbeat("w1", epoch, "one", LEASE_MS, 0, {}) == "ok"
    assert await owner(cell, FIRST) == b"w1"
    assert LEASE_MS < await cell.client.pttl(cell.keys.device(FIRST)) <= 3 * LEASE_MS


@pytest.mark.parametrize("gpu", ["", None])
async def test_a_worker_without_a_gpu_claims_none(cell: Cell, gpu: str | None) -> None:
    """Its beat says so, or says nothing."""
    epoch = await worker(cell)
    fields = {} if gpu is None else {"gpu_uuid": gpu}
    assert await cell.scripts.heartbeat("w1", epoch, "one", LEASE_MS, 0, fields) == "ok"
    assert await cell.exists(cell.keys.device("")) == []


async def test_a_beat_takes_no_gpu_from_another(cell: Cell) -> None:
    """It was silent until its claim ran out, and no gateway was there to reap it."""
    epoch = await worker(cell, gpu_uuid=FIRST)
    await claim(cell, "w2", FIRST)
    assert await cell.scripts.heartbeat("w1", epoch, "one", LEASE_MS, 0, {}) == "ok"
    assert await owner(cell, FIRST) == b"w2"


async def test_a_worker_that_was_fenced_keeps_no_claim(cell: Cell) -> None:
    """Its GPU may be another's by now."""
    old = await worker(cell, gpu_uuid=FIRST)
    await worker(cell, gpu_uuid=FIRST)
    await claim(cell, "w2", FIRST)
    assert (
        await cell.scripts.heartbeat("w1", old, "one", LEASE_MS, 0, {"gpu_uuid": FIRST}) == "fenced"
    )
    assert await owner(cell, FIRST) == b"w2"
