"""The lease of one load: kept while it runs, and given up in one of three ways."""

from __future__ import annotations

import asyncio

import pytest

from shared import causes
from shared.errors import (
    DiskFull,
    InsufficientMemory,
    LoadFailed,
    WarmrouteError,
)
from tests.helpers.cell import LEASE_MS, Cell
from tests.helpers.factories import REF, placing
from tests.helpers.wait import wait_until
from worker.loading import load_lease as module
from worker.loading.load_lease import LoadLease


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renewals follow soon upon each other."""
    monkeypatch.setattr(module, "RENEW_EVERY_S", 0.005)


async def claimed(cell: Cell, worker: str = "w1") -> LoadLease:
    """A request parks, and the worker claims the load."""
    await cell.gateway()
    epoch = await cell.worker(worker)
    await cell.place(placing())
    return LoadLease(cell.scripts, worker, REF, await cell.claim(worker, epoch), 10_000)


async def test_it_is_renewed_while_the_load_runs(cell: Cell) -> None:
    """And not longer."""
    lease, key = await claimed(cell), cell.keys.load(REF)
    await cell.client.pexpire(key, 5_000)

    async def renewed() -> bool:
        return await cell.client.pttl(key) > LEASE_MS - 1000

    async with lease.renewed():
        await wait_until(renewed)
    await asyncio.sleep(0)
    # On the connection of the renewals: behind one that is still on its way.
    await cell.channel.execute_command("PEXPIRE", key, 5_000)
    await asyncio.sleep(0.05)
    assert not await renewed()


async def test_who_loses_it_is_cancelled(cell: Cell) -> None:
    """Another may load by now."""
    lease = await claimed(cell)
    reached = asyncio.Event()

    async def load() -> None:
        async with lease.renewed():
            reached.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(load())
    await reached.wait()
    await cell.client.delete(cell.keys.load(REF))
    await asyncio.wait([task], timeout=20)
    assert task.cancelled()


async def test_failing_answers_what_is_parked(cell: Cell) -> None:
    """With the cause."""
    await (await claimed(cell)).fail(LoadFailed("no"))
    (reply,) = await cell.replies()
    assert (reply["status"], reply["outcome"]) == (b"failed", b"load_failed no")
    assert await cell.exists(cell.keys.load(REF)) == []


async def test_refusing_hands_the_order_to_the_others(cell: Cell) -> None:
    """Only if there is none is it a failure."""
    lease = await claimed(cell)
    other = await cell.worker("w2")
    await lease.refuse(InsufficientMemory("too large for w1"))
    assert await cell.replies() == []
    last = LoadLease(cell.scripts, "w2", REF, await cell.claim("w2", other), 10_000)
    await last.refuse(InsufficientMemory("too large for w2"))
    (reply,) = await cell.replies()
    assert reply["outcome"] == b"insufficient_memory too large for w2"


async def test_what_is_given_back_is_ordered_again_for_who_waits(cell: Cell) -> None:
    """Without waiting for the lease's end; nobody is blamed."""
    lease = await claimed(cell)
    await cell.client.delete(cell.keys.rq_queue())
    await lease.release()

    async def ordered() -> bool:
        await cell.scripts.sweep()
        return len(await cell.orders()) == 1

    await wait_until(ordered)
    assert await cell.replies() == []
    assert await cell.exists(cell.keys.unloadable(REF)) == []


async def test_a_lease_that_was_lost_gives_back_nothing_of_another(cell: Cell) -> None:
    """Its token is not the lease's any more."""
    lease = await claimed(cell)
    await cell.client.hset(cell.keys.load(REF), "token", "another")
    await lease.release()
    await asyncio.sleep(0.01)
    assert await cell.token() == "another"


@pytest.mark.parametrize(
    ("error", "scope", "answered"),
    [
        (LoadFailed("no"), "", False),
        (LoadFailed("no"), causes.MODEL, True),
        (DiskFull("no"), "", False),
    ],
)
async def test_a_failure_is_sent_with_its_scope(
    cell: Cell, error: WarmrouteError, scope: str, answered: bool
) -> None:
    """Another worker is asked, unless the cause is proved to be the model's."""
    lease = await claimed(cell)
    await cell.worker("w2")
    await lease.fail(error, scope)
    assert bool(await cell.replies()) == answered
    token = await cell.client.hget(cell.keys.load(REF), "token")
    assert (token is None) == answered and token != lease.token.encode()
