"""release.lua: a worker is released in parts of bounded cost, also when the process dies."""

from __future__ import annotations

import pytest

from shared.script_runner import CHUNK
from shared.scripts import Scripts
from tests.helpers.cell import LEASE_MS, MAX_ATTEMPTS, Cell
from tests.helpers.factories import REF, kept, placing

COPIES = 3 * CHUNK


class Dying(Scripts):
    """A process that is killed between the first call of a release and the next."""

    async def _release(self, worker: str, max_attempts: int, cause: str) -> None:
        return None


@pytest.fixture
def dying(cell: Cell) -> Dying:
    """It works on the same cell."""
    scripts = Dying(cell.channel, cell.keys)
    scripts.now_ms = cell.scripts.now_ms = 1_000_000
    return scripts


async def holder(cell: Cell, name: str = "w1") -> str:
    """A worker with more copies than one call forgets; its epoch."""
    refs = [f"m{n}:1:0123456789ab" for n in range(COPIES)]
    epoch = await cell.worker(name, holds=[REF])
    await cell.client.sadd(cell.keys.holds(name), *refs)
    pipe = cell.client.pipeline(transaction=False)
    for ref in refs:
        pipe.hset(cell.keys.holders(ref), name, "device 1 0")
    await pipe.execute()
    return epoch


async def test_who_is_partly_released_gets_nothing_and_may_do_nothing(
    cell: Cell, dying: Dying
) -> None:
    """The map still names it for a moment, and the cell knows better."""
    epoch = await holder(cell)
    assert await dying.leave("w1", epoch, MAX_ATTEMPTS)
    assert await cell.client.hexists(cell.keys.holders(REF), "w1") or await cell.client.scard(
        cell.keys.holds("w1")
    )
    assert (await cell.place(placing()))[0].status == "parked"
    assert (await cell.scripts.heartbeat("w1", epoch, "one", LEASE_MS, 1, {})).answer == "fenced"
    assert await cell.scripts.announce("w1", epoch, REF, "", "device 1") == -2


async def test_gateways_go_on_where_a_process_died(cell: Cell, dying: Dying) -> None:
    """At the first look: its lease is over. Nothing of it stays."""
    epoch = await holder(cell)
    await cell.place(*[placing() for _ in range(2 * CHUNK)])
    await dying.leave("w1", epoch, MAX_ATTEMPTS)
    calls = 0
    while (found := await cell.reap()) is not None:
        calls += 1
        assert found[0] == "w1"
    assert calls >= 4
    keys = cell.keys
    assert await cell.client.xlen(keys.parked(REF)) == 2 * CHUNK
    assert await cell.exists(
        keys.workers, keys.worker("w1"), keys.holds("w1"), keys.holders(REF), keys.work("w1")
    ) == []  # fmt: skip


async def test_who_goes_on_charges_only_what_was_on_the_device(cell: Cell, dying: Dying) -> None:
    """Whoever places it again, `fence_worker` has said what ran."""
    epoch = await holder(cell)
    await cell.place(*[kept() for _ in range(CHUNK + 20)])
    entries = await cell.read("w1")
    await cell.begin("w1", epoch, entries[:3], batch=1)
    await cell.begin("w1", epoch, entries[-3:], batch=2)
    await dying.fence_worker("w1", epoch, 2, "signal 9", MAX_ATTEMPTS)
    while await cell.reap() is not None:
        pass
    parked = await cell.stream(cell.keys.parked(REF))
    assert [e.fields["attempts"] for e in parked].count(b"1") == 3
    assert len(parked) == CHUNK + 20


async def test_no_epoch_is_given_before_the_old_one_is_released(cell: Cell) -> None:
    """However much it had: `register` says how much is left, and is called again."""
    await holder(cell)
    await cell.place(*[placing() for _ in range(2 * CHUNK)])
    args = ("w1", LEASE_MS, MAX_ATTEMPTS, *cell.scripts.protocol, CHUNK, "state", "ready")
    answers = []
    while isinstance(answer := await cell.scripts._run("register", *args), int):
        answers.append(answer)
        assert not await cell.exists(cell.keys.worker("w1"))
    assert answers == sorted(answers, reverse=True)
    assert len(answers) >= 4
    assert await cell.exists(cell.keys.holds("w1"), cell.keys.holders(REF)) == []
    assert await cell.client.xlen(cell.keys.parked(REF)) == 2 * CHUNK


async def test_a_call_orders_few_loads(cell: Cell, dying: Dying) -> None:
    """An order costs as much as several entries: a worker with many cold models is many calls."""
    refs = [f"m{n}:1:0123456789ab" for n in range(CHUNK)]
    epoch = await cell.worker("w1", holds=refs)
    await cell.place(*[placing(ref=ref) for ref in refs])
    await dying.leave("w1", epoch, MAX_ATTEMPTS)
    ordered = len(await cell.orders())
    assert 0 < ordered <= CHUNK // 12 + 1
    while await cell.reap() is not None:
        now = len(await cell.orders())
        assert now - ordered <= CHUNK // 12 + 1
        ordered = now
    assert ordered == CHUNK


async def test_only_what_is_being_released_is_released(cell: Cell) -> None:
    """A worker that has registered meanwhile keeps what it has."""
    await cell.worker("w1", holds=[REF])
    assert await cell.scripts._run("release", "w1", MAX_ATTEMPTS, CHUNK, "it left") == 0
    assert (await cell.place(placing()))[0].detail == "w1"
