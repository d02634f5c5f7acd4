"""A worker that was started again is asked to load what it could not load before (I36)."""

from __future__ import annotations

import pytest

from tests.helpers.cell import LEASE_MS, Cell
from tests.helpers.factories import REF, kept
from tests.lua.fleet import claim
from tests.lua.test_blame import BACKOFF_MS, FORBIDDEN, fail, workers


async def begin_again(cell: Cell, name: str, parent: str) -> str:
    """Its epoch. Sent by a parent that is named."""
    fields = {"state": "ready", "device_name": "cpu", **({"parent": parent} if parent else {})}
    return await cell.scripts.register(name, LEASE_MS, 3, fields)


async def failed_twice(cell: Cell, parent: str) -> dict[str, str]:
    """Two workers of whom w1, of that parent, has failed; an order leaves it out. Their epochs."""
    epochs = await workers(cell, 2)
    epochs["w1"] = await begin_again(cell, "w1", parent)
    await cell.place(kept())
    for _ in range(2):
        await fail(cell, "w1", epochs["w1"])
        assert await claim(cell, "w1", epochs["w1"]) == "refused"
        cell.scripts.now_ms = (cell.scripts.now_ms or 0) + BACKOFF_MS
        await cell.client.zadd(
            cell.keys.workers, dict.fromkeys(epochs, cell.scripts.now_ms + LEASE_MS)
        )
    return epochs


async def back_off_ms(cell: Cell) -> int:
    """How long w1 is not asked from now on."""
    said = await cell.client.hget(cell.keys.failed_on(REF), "w1") or b"0"
    return int(said.split()[0]) - (cell.scripts.now_ms or 0)


async def test_a_worker_that_was_started_again_begins_anew(cell: Cell) -> None:
    """Credentials, a disk or a driver are mended so: it may take the order that left it out, and
    its next failure counts as its first."""
    await failed_twice(cell, "one")
    cell.scripts.now_ms = (cell.scripts.now_ms or 0) + 1
    epoch = await begin_again(cell, "w1", "two")
    assert await claim(cell, "w1", epoch) == "claimed"
    assert await cell.scripts.fail_load(
        "w1", REF, await cell.token(), FORBIDDEN, BACKOFF_MS, False, "", scope="worker"
    ) == 0  # fmt: skip
    assert await back_off_ms(cell) == BACKOFF_MS


@pytest.mark.parametrize(
    ("before", "after"), [("one", "one"), ("one", ""), ("", "two"), ("", "")], ids=str
)
async def test_its_next_device_process_does_not(cell: Cell, before: str, after: str) -> None:
    """It has the same settings. An older release names no parent."""
    await failed_twice(cell, before)
    epoch = await begin_again(cell, "w1", after)
    assert await claim(cell, "w1", epoch) == "refused"
    assert await cell.scripts.reload("w1", epoch, REF, LEASE_MS) == ""
