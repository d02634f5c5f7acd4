"""lib/free_bytes, lib/reserved: what sessions have reserved on workers, and what policies pin."""

from __future__ import annotations

import pytest

from shared.scripts import Opened
from tests.helpers.cell import LEASE_MS, MAX_ATTEMPTS, Cell
from tests.helpers.factories import OTHER_REF, REF
from tests.lua.fleet import NOW_MS, lease, worker

TTL_MS = 30_000
THIRD_REF = "clip:1:111111111111"


@pytest.fixture(autouse=True)
def clock(cell: Cell) -> None:
    """Each test owns the clock."""
    cell.scripts.now_ms = NOW_MS


async def open_session(cell: Cell, name: str, *models: tuple[str, int]) -> Opened:
    return await cell.scripts.open_session(name, TTL_MS, 100, models)


async def room(cell: Cell, name: str) -> tuple[int, int]:
    """Bytes and number of models that are reserved on a worker."""
    found = await cell.client.hmget(cell.keys.worker(name), "for_sessions", "session_models")
    return int(found[0] or 0), int(found[1] or 0)


async def where(cell: Cell, ref: str = REF) -> str:
    """The worker that a model has its room on, '' if it has none."""
    row = (await cell.client.hget(cell.keys.reserved, ref)) or b""
    return row.decode().partition(" ")[0]


async def test_room_is_reserved_once_and_given_back_by_the_last_session(cell: Cell) -> None:
    """Whatever bytes the others think that the model takes."""
    await worker(cell, "w1", holds=[REF], budget_bytes=100)
    await open_session(cell, "s1", (REF, 60))
    await open_session(cell, "s2", (REF, 70), (OTHER_REF, 40))
    assert await room(cell, "w1") == (100, 2)
    assert await cell.scripts.close_session("s1")
    assert await room(cell, "w1") == (100, 2)
    assert await cell.scripts.close_session("s2")
    assert await room(cell, "w1") == (0, 0)
    assert await cell.exists(cell.keys.reserved) == []


async def test_room_moves_to_the_worker_that_holds_the_model(cell: Cell) -> None:
    """Its order was taken by another worker; the bytes stay those of the session."""
    await worker(cell, "w1", budget_bytes=100)
    await open_session(cell, "s1", (REF, 60))
    await worker(cell, "w2", holds=[REF], budget_bytes=80)
    await cell.scripts.reconcile()
    assert (await where(cell), await room(cell, "w1"), await room(cell, "w2")) == (
        "w2", (0, 0), (60, 1)
    )  # fmt: skip
    assert await open_session(cell, "s2", (OTHER_REF, 101)) == ("full", (OTHER_REF, "101", "100"))


async def test_room_on_a_process_that_has_gone_is_nowhere(cell: Cell) -> None:
    """Its successor under that name has a record of its own, and all its room."""
    await worker(cell, "w1", holds=[REF], budget_bytes=100)
    await open_session(cell, "s1", (REF, 60))
    await worker(cell, "w1", budget_bytes=100)
    assert await room(cell, "w1") == (0, 0)
    assert (await open_session(cell, "s2", (OTHER_REF, 90))).status == "open"
    assert await cell.scripts.close_session("s1")
    assert await room(cell, "w1") == (90, 1)


async def test_a_session_of_an_earlier_release_is_counted_where_its_models_are(
    cell: Cell,
) -> None:
    """On a worker that reports no pins at once, on another one when `reconcile` has seen it."""
    epoch = await worker(cell, "w1", budget_bytes=100)
    await cell.scripts.announce("w1", epoch, REF, "", "device 30")
    await open_session(cell, "s1", (REF, 30))
    await cell.client.delete(cell.keys.reserved)
    await cell.client.hdel(cell.keys.worker("w1"), "for_sessions", "session_models")
    assert await open_session(cell, "s2", (OTHER_REF, 71)) == ("full", (OTHER_REF, "71", "70"))
    await cell.client.hset(cell.keys.worker("w1"), mapping={"pinned_bytes": 0, "pinned_models": 0})
    await cell.scripts.reconcile()
    assert await room(cell, "w1") == (30, 1)
    assert await open_session(cell, "s2", (OTHER_REF, 71)) == ("full", (OTHER_REF, "71", "70"))


async def test_what_policies_pin_is_what_the_worker_reports(cell: Cell) -> None:
    """Its copies are not asked; one that a policy pins has its room already."""
    epoch = await worker(cell, "w1", budget_bytes=100, pinned_bytes=70, pinned_models=2)
    await cell.scripts.announce("w1", epoch, REF, "", "device 30")
    await cell.scripts.set_policy(REF, {"pin": "1"})
    assert await open_session(cell, "s1", (OTHER_REF, 31)) == ("full", (OTHER_REF, "31", "30"))
    assert (await open_session(cell, "s1", (REF, 30), (OTHER_REF, 30))).status == "open"
    assert (await where(cell), await where(cell, OTHER_REF)) == ("", "w1")
    await cell.scripts.set_policy(REF, {"pin": "0"})
    await cell.scripts.reconcile()
    assert await where(cell) == "w1"


async def test_the_number_of_models_is_limited_too(cell: Cell) -> None:
    """Those of policies and of other sessions count."""
    full = {"budget_bytes": 100, "max_models": 3, "pinned_bytes": 1, "pinned_models": 1}
    await worker(cell, "w1", **full)
    await open_session(cell, "s1", (REF, 1))
    assert (await open_session(cell, "s2", (OTHER_REF, 1), (THIRD_REF, 1))).status == "full"
    assert (await open_session(cell, "s2", (OTHER_REF, 1))).status == "open"
    assert await open_session(cell, "s3", (THIRD_REF, 1)) == ("full", (THIRD_REF, "1", "0"))


async def test_before_it_is_refused_more_workers_are_looked_at(cell: Cell) -> None:
    """Only one of 100 has room; a sample of a third would miss it often."""
    for number in range(100):
        await worker(cell, f"w{number}", budget_bytes=50 if number == 70 else 10)
    assert (await open_session(cell, "s1", (REF, 50))).status == "open"
    assert (await where(cell), (await lease(cell))["for"]) == ("w70", "w70")


async def test_a_worker_that_leaves_takes_its_sums_with_it(cell: Cell) -> None:
    """Where a model has its room is found out anew."""
    epoch = await worker(cell, "w1", holds=[REF], budget_bytes=100)
    await worker(cell, "w2", holds=[REF], budget_bytes=100, lease_ms=10 * LEASE_MS)
    await open_session(cell, "s1", (REF, 60))
    assert await where(cell) == "w1"
    await cell.scripts.leave("w1", epoch, MAX_ATTEMPTS)
    assert await cell.exists(cell.keys.worker("w1")) == []
    await cell.scripts.reconcile()
    assert (await where(cell), await room(cell, "w2")) == ("w2", (60, 1))
