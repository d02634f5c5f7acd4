"""A heartbeat's answer names the copies of which something has changed, and no others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.helpers.cell import LEASE_MS, MAX_ATTEMPTS, Cell
from tests.helpers.factories import OTHER_REF, REF

NEWER = REF.replace(":1:", ":2:")


async def changed(cell: Cell, worker: str = "w1") -> set[str]:
    """What its heartbeat is told."""
    record = await cell.client.hgetall(cell.keys.worker(worker))
    held = await cell.client.scard(cell.keys.holds(worker))
    epoch, incarnation = record[b"epoch"].decode(), record[b"incarnation"].decode()
    beaten = await cell.scripts.heartbeat(worker, epoch, incarnation, LEASE_MS, held, {})
    assert beaten.answer == "ok"
    return set(beaten.changed)


@pytest.fixture
async def calm(cell: Cell) -> Cell:
    """w1 holds two models, w2 one of them, and both know."""
    await cell.worker("w1", holds=[REF, OTHER_REF])
    await cell.worker("w2", holds=[REF])
    assert await changed(cell, "w1") == {REF, OTHER_REF}
    assert await changed(cell, "w2") == {REF}
    assert await changed(cell, "w1") == set()
    return cell


async def epoch(cell: Cell, worker: str) -> str:
    found: bytes = await cell.client.hget(cell.keys.worker(worker), "epoch")
    return found.decode()


async def pin(cell: Cell) -> None:
    await cell.scripts.set_policy(REF, {"pin": "1"})
    await cell.client.delete(cell.keys.policy(REF))


async def unload(cell: Cell) -> None:
    await cell.scripts.retire("w2", await epoch(cell, "w2"), REF)


async def leave(cell: Cell) -> None:
    await cell.scripts.leave("w2", await epoch(cell, "w2"), MAX_ATTEMPTS)


async def third(cell: Cell) -> None:
    await cell.worker("w3", holds=[REF])


async def session(cell: Cell) -> None:
    assert (await cell.scripts.open_session("s1", 1000, 10, [(REF, 1)])).status == "open"
    assert await changed(cell) == {REF}
    assert await cell.scripts.close_session("s1")


async def newer(cell: Cell) -> None:
    await cell.worker("w3", holds=[NEWER])


async def gone(cell: Cell) -> None:
    await cell.scripts.order_copy(REF, 0)


async def rows(cell: Cell) -> None:
    await cell.scripts.record_stats("w2", await epoch(cell, "w2"), REF, {"rows": "they mix"})


@pytest.mark.parametrize("step", [pin, unload, leave, third, session, newer, gone, rows])
async def test_who_holds_a_model_is_told(calm: Cell, step: Callable[[Cell], Awaitable[None]]):
    """Once, of that model only."""
    if step is session:
        await calm.client.hset(calm.keys.worker("w1"), mapping={"budget_bytes": 100})
    await step(calm)
    assert await changed(calm) == {REF}
    assert await changed(calm) == set()


async def test_a_question_changes_nothing(calm: Cell) -> None:
    """Nor does a figure that no policy depends on, or a copy that is announced again."""
    await calm.scripts.set_policy(REF, {})
    own = await epoch(calm, "w1")
    await calm.scripts.record_stats("w1", own, REF, {"peak:cpu": "1"})
    await calm.scripts.announce("w1", own, REF, "", "device 1")
    assert await changed(calm) == set()


async def test_of_many_holders_of_a_model_some_are_told_of_a_further_one(cell: Cell) -> None:
    """All of a policy."""
    for n in range(12):
        await cell.worker(f"w{n}", holds=[REF])
    for n in range(12):
        await changed(cell, f"w{n}")
    await cell.worker("more", holds=[REF])

    async def told() -> list[bool]:
        return [await changed(cell, f"w{n}") == {REF} for n in range(12)]

    assert 3 <= sum(await told()) <= 4
    await cell.scripts.set_policy(REF, {"pin": "1"})
    assert all(await told())
    await cell.client.delete(cell.keys.policy(REF))


async def test_who_never_asks_leaves_nothing_behind(calm: Cell) -> None:
    """A worker of an older release reads by itself: what it was to be told expires."""
    await calm.scripts.set_policy(REF, {"pin": ""})
    assert 0 < await calm.client.ttl(calm.keys.changed("w1")) <= 60
    await leave(calm)
    assert await calm.exists(calm.keys.changed("w2")) == []


async def test_of_very_many_holders_each_is_told_by_and_by(cell: Cell) -> None:
    """Whatever the number, a call tells a part of them; when all have been told nothing is left."""
    names = [f"x{number}" for number in range(1500)]
    holders = cell.keys.holders(REF)
    await cell.client.hset(holders, mapping=dict.fromkeys(names, "device 1 1"))
    await cell.scripts.set_policy(REF, {"priority": "2"})
    assert 0 < await cell.client.ttl(cell.keys.notifying) <= 60
    told: list[int] = []
    while await cell.client.exists(cell.keys.notifying):
        await cell.scripts.reconcile()
        told.append(len([n for n in names if await cell.client.exists(cell.keys.changed(n))]))
    assert 0 < told[0] < 300 and told[-1] == len(names)


async def test_a_model_that_lost_its_holders_meanwhile_is_forgotten(cell: Cell) -> None:
    """Nobody is left to be told."""
    names = [f"x{number}" for number in range(200)]
    holders = cell.keys.holders(REF)
    await cell.client.hset(holders, mapping=dict.fromkeys(names, "device 1 1"))
    await cell.scripts.set_policy(REF, {"priority": "2"})
    await cell.client.delete(holders)
    await cell.scripts.reconcile()
    assert await cell.exists(cell.keys.notifying) == []
