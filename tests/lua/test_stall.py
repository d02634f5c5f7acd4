"""After a stall of Redis, or a leap of its clock, nobody is dead before one lease has passed."""

from __future__ import annotations

import pytest

from shared.constants import STALL_SPARE_MS
from tests.helpers.cell import LEASE_MS, MAX_ATTEMPTS, Cell
from tests.helpers.factories import OTHER_REF, REF, kept, placing

START_MS = 10_000_000
MINUTES_10 = 600_000


async def reap(cell: Cell) -> tuple[str, int] | None:
    """As a gateway does, whatever went on before."""
    return await cell.scripts.reap(MAX_ATTEMPTS, LEASE_MS)


async def running(cell: Cell) -> str:
    """A cell in which housekeeping went on until now, with a worker that runs one request."""
    cell.scripts.now_ms = START_MS
    await cell.gateway()
    await cell.attend()
    epoch = await cell.worker(holds=[REF])
    await cell.place(kept())
    await cell.begin("w1", epoch, await cell.read())
    return epoch


async def lease_of(cell: Cell, worker: str = "w1") -> int:
    return int(await cell.client.zscore(cell.keys.workers, worker) or 0)


@pytest.mark.parametrize("away_ms", [LEASE_MS + 1, 8 * LEASE_MS, MINUTES_10])
async def test_a_gap_in_housekeeping_starts_a_grace_of_one_lease(cell: Cell, away_ms: int) -> None:
    """Blocked, restarted, failed over to a clock that is ahead: all look alike. What runs is not
    started elsewhere; what is placed meanwhile still finds its holder; a late commit counts."""
    epoch = await running(cell)
    cell.scripts.now_ms += away_ms
    assert await reap(cell) is None
    assert await lease_of(cell) == START_MS + away_ms + LEASE_MS
    assert [placed.detail for placed in await cell.place(placing())] == ["w1"]
    cell.scripts.now_ms += 500
    assert await reap(cell) is None
    assert await cell.scripts.sweep() == (0, 0, 0)
    assert (await cell.scripts.heartbeat("w1", epoch, "one", LEASE_MS, 1, {})).answer == "ok"
    entry = (await cell.stream(cell.keys.work("w1")))[0]
    assert await cell.complete("w1", epoch, [entry]) == [1]


async def test_who_stays_silent_is_reaped_when_the_grace_is_over(cell: Cell) -> None:
    """One lease later, not a millisecond earlier, and it is charged as usual."""
    await running(cell)
    cell.scripts.now_ms += LEASE_MS + 1
    for _ in range(LEASE_MS // 500):
        assert await reap(cell) is None
        cell.scripts.now_ms += 500
    assert await reap(cell) == ("w1", 0)


async def test_a_second_stall_begins_a_new_grace(cell: Cell) -> None:
    """One that came just before the end of the first."""
    await running(cell)
    for _ in range(5):
        cell.scripts.now_ms += LEASE_MS - 1
        assert await reap(cell) is None


async def test_a_clock_that_goes_back_makes_no_dead_worker_live_on(cell: Cell) -> None:
    """Leases of before end far in the future: they are shortened to one lease."""
    await running(cell)
    cell.scripts.now_ms -= MINUTES_10
    assert await reap(cell) is None
    assert await lease_of(cell) == cell.scripts.now_ms + LEASE_MS
    await cell.scripts.gateway_beat("gw2", LEASE_MS)
    leases = await cell.client.zrange(cell.keys.gateways, 0, -1, withscores=True)
    assert {int(lease) for _, lease in leases} == {cell.scripts.now_ms + LEASE_MS}
    for _ in range(LEASE_MS // 500):
        cell.scripts.now_ms += 500
        reaped = await reap(cell)
    assert reaped == ("w1", 0)


async def test_short_pauses_and_small_steps_of_the_clock_are_no_stall(cell: Cell) -> None:
    """Else a busy gateway, or a clock that is being adjusted, would keep the dead alive."""
    await running(cell)
    for step_ms in (700, -20, 2000, 1500, -400, 2400, 2400, 2400):
        assert await reap(cell) is None
        cell.scripts.now_ms += step_ms
    assert await reap(cell) == ("w1", 0)


async def test_the_first_gateway_of_a_cell_reaps_nobody_for_a_lease(cell: Cell) -> None:
    """Nobody has kept watch: it does not know whether Redis was there."""
    cell.scripts.now_ms = START_MS
    await cell.worker(lease_ms=1)
    cell.scripts.now_ms += 1
    assert await reap(cell) is None
    assert await lease_of(cell) == cell.scripts.now_ms + LEASE_MS


async def test_whoever_calls_first_finds_the_stall(cell: Cell) -> None:
    """A sweep, before any reaper: what runs keeps its place although its deadline has passed by
    the new clock; what waits expires as always."""
    await running(cell)
    await cell.place(kept(ref=OTHER_REF))
    cell.scripts.now_ms += MINUTES_10
    assert (await cell.scripts.sweep())[0] == 1
    assert await reap(cell) is None
    assert await cell.client.xlen(cell.keys.work("w1")) == 1
    await cell.attend()
    cell.scripts.now_ms += LEASE_MS
    await cell.attend()
    assert (await cell.scripts.sweep())[0] == 1


async def test_what_a_gateway_has_read_stays_with_it(cell: Cell) -> None:
    """A gateway that beats first after a stall takes nothing from those that will beat next; its
    callers' reply streams are still there."""
    cell.scripts.now_ms = START_MS
    await cell.gateway("gw1")
    entry = await cell.client.xadd(cell.keys.ingress, {"model": "mnist"})
    await cell.client.xreadgroup("g", "gw1", {cell.keys.ingress: ">"})
    assert await cell.client.pttl(cell.keys.replies("gw1")) > MINUTES_10
    cell.scripts.now_ms += MINUTES_10
    assert (await cell.scripts.gateway_beat("gw2", LEASE_MS)).moved == 0
    assert [row.entry for row in await cell.stream(cell.keys.ingress)] == [entry]
    assert await cell.client.zscore(cell.keys.gateways, "gw1") == cell.scripts.now_ms + LEASE_MS


async def test_the_lease_of_a_load_that_goes_on_outlives_a_leap(cell: Cell) -> None:
    """Its key stays; without renewals it ends once there is no grace."""
    cell.scripts.now_ms = START_MS
    epoch = await cell.worker(lease_ms=2 * MINUTES_10)
    await cell.place(kept(timeout_ms=2 * MINUTES_10))
    token = await cell.claim("w1", epoch)
    assert await cell.scripts.renew_load("w1", REF, token, LEASE_MS, "", STALL_SPARE_MS)
    assert await cell.client.pttl(cell.keys.load(REF)) > MINUTES_10
    await cell.attend()
    cell.scripts.now_ms += MINUTES_10
    assert await cell.scripts.sweep() == (0, 0, 0)
    assert await cell.token() == token
    await cell.attend()
    assert await cell.scripts.sweep() == (0, 0, 0)  # nobody renews it: it is deleted
    assert (await cell.scripts.sweep())[1] == 1


async def test_a_session_is_not_ended_for_a_silence_of_redis(cell: Cell) -> None:
    """It gets its time to live again; its client may keep it, also before housekeeping."""
    cell.scripts.now_ms = START_MS
    await cell.worker(lease_ms=2 * MINUTES_10)
    await cell.client.hset(cell.keys.worker("w1"), "budget_bytes", 100)
    for name in ("s1", "s2"):
        await cell.scripts.open_session(name, 1000, 9, [(REF, 10)])
    await cell.attend()
    cell.scripts.now_ms += MINUTES_10
    assert await cell.scripts.keep_session("s1") == cell.scripts.now_ms + 1000
    assert (await cell.scripts.reconcile())[0] == 0
    assert await cell.client.zscore(cell.keys.sessions, "s2") == cell.scripts.now_ms + 1000
    cell.scripts.now_ms += 1000
    await cell.attend()
    assert (await cell.scripts.reconcile())[0] == 2
