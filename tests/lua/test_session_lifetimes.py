"""How long a session lasts: kept, closed, expired; its name and its memory are then free."""

from __future__ import annotations

import pytest

from shared.constants import STALL_SPARE_MS
from tests.helpers.cell import Cell
from tests.helpers.factories import OTHER_REF, REF
from tests.lua.fleet import NOW_MS, members, worker
from tests.lua.test_sessions import TTL_MS, open_session, untouched


@pytest.fixture(autouse=True)
def clock(cell: Cell) -> None:
    """Each test owns the clock."""
    cell.scripts.now_ms = NOW_MS


async def test_the_memory_of_an_expired_session_is_free_when_it_is_ended(cell: Cell) -> None:
    """`reconcile` does so within half a second."""
    await worker(cell, budget_bytes=100, lease_ms=10 * TTL_MS)
    await open_session(cell, (REF, 100))
    cell.scripts.now_ms += TTL_MS - 1
    assert (await open_session(cell, (OTHER_REF, 1), name="s2")).status == "full"
    cell.scripts.now_ms += 1
    assert (await cell.scripts.reconcile())[0] == 1
    assert (await open_session(cell, (OTHER_REF, 1), name="s2")).status == "open"


async def test_the_name_of_a_session_that_has_expired_may_be_used_again(cell: Cell) -> None:
    """Though nobody has tidied up; what only the old one wanted is let go."""
    await worker(cell, budget_bytes=100, lease_ms=10 * TTL_MS)
    await open_session(cell, (REF, 60))
    cell.scripts.now_ms += TTL_MS
    opened = await open_session(cell, (OTHER_REF, 60), most=1)
    assert opened == ("open", (str(NOW_MS + 2 * TTL_MS),))
    assert await cell.exists(cell.keys.pinned(REF)) == []


async def test_a_session_that_is_kept_lives_on(cell: Cell) -> None:
    """From now for as long as it asks; it has keys with a lifetime a little longer than that."""
    await worker(cell, budget_bytes=100)
    await open_session(cell, (REF, 60))
    cell.scripts.now_ms += TTL_MS - 1
    expiry = cell.scripts.now_ms + 90_000
    assert await cell.scripts.keep_session("s1", 90_000) == expiry
    assert await cell.client.zscore(cell.keys.sessions, "s1") == expiry
    assert 90_000 < await cell.client.pttl(cell.keys.session("s1")) <= 90_000 + STALL_SPARE_MS


async def test_without_a_ttl_a_session_keeps_its_first_one(cell: Cell) -> None:
    """That is kept with it."""
    await worker(cell, budget_bytes=100)
    await open_session(cell, (REF, 60))
    cell.scripts.now_ms += 10
    assert await cell.scripts.keep_session("s1", None) == NOW_MS + 10 + TTL_MS
    assert await cell.scripts.keep_session("s2", None) == 0


async def test_a_session_that_is_over_is_not_kept(cell: Cell) -> None:
    """It expired, was closed, or never was: zero, and nothing comes back."""
    await worker(cell, budget_bytes=100, lease_ms=10 * TTL_MS)
    assert await cell.scripts.keep_session("s1", TTL_MS) == 0
    await open_session(cell, (REF, 60))
    await open_session(cell, (REF, 60), name="s2")
    assert await cell.scripts.close_session("s2")
    assert await cell.scripts.keep_session("s2", TTL_MS) == 0
    cell.scripts.now_ms += TTL_MS
    assert await cell.scripts.keep_session("s1", TTL_MS) == 0
    assert await cell.client.zscore(cell.keys.sessions, "s1") == NOW_MS + TTL_MS
    assert await cell.scripts.reconcile() == (1, 0)
    assert await untouched(cell, "s1", OTHER_REF)


async def test_what_is_closed_twice_was_closed_once(cell: Cell) -> None:
    """The second is told that there was none; another session's pin stays."""
    await worker(cell, budget_bytes=100)
    await open_session(cell, (REF, 60))
    await open_session(cell, (REF, 60), name="s2")
    assert await cell.scripts.close_session("s1")
    assert not await cell.scripts.close_session("s1")
    assert not await cell.scripts.close_session("nobody's")
    assert await members(cell, cell.keys.pinned(REF)) == {"s2"}
