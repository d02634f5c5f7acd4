"""No script grows with the fleet: its commands are counted, beside few workers and many."""

from __future__ import annotations

from typing import Any

import pytest

from shared.script_runner import load_source
from tests.helpers.cell import Cell
from tests.helpers.factories import REF
from tests.helpers.leaks import forget_cell
from tests.lua.fleet import NOW_MS
from tests.lua.test_lost_answers import STORIES

FEW, MANY = 100, 1000  # more than a choice looks at
EVER_MS = 4_000_000_000_000
# A sample is drawn at random: how many of it are ready, or near, differs from call to call.
SPARE = 1.3
# Scripts that still ask every process.
KNOWN: set[str] = set()
# What these do, they do for the holders of a model.
FOR_HOLDERS = {
    "announce",
    "order_unload",
    "place",
    "reconcile",
    "record_stats",
    "retire",
    "set_policy",
}


async def crowd(cell: Cell, first: int, last: int) -> None:
    """Workers and gateways that are alive, beside those of the story."""
    pipe, keys = cell.client.pipeline(transaction=False), cell.keys
    names = [f"x{number}" for number in range(first, last)]
    pipe.zadd(keys.workers, dict.fromkeys(names, EVER_MS))
    pipe.zadd(keys.gateways, dict.fromkeys(names, EVER_MS))
    pipe.zadd(keys.ready("cpu"), dict.fromkeys(names, 0))
    pipe.sadd(keys.device_classes, "cpu")
    for name in names:
        report = {"epoch": "1", "state": "ready", "device_class": "cpu", "budget_bytes": "9"}
        pipe.hset(keys.worker(name), mapping=report)
        pipe.set(keys.gateway(name), "1 1", ex=60)
    await pipe.execute()


async def commands(cell: Cell) -> int:
    """How many Redis has run so far, those of scripts too."""
    stats = await cell.client.info("commandstats")
    return sum(row["calls"] for row in stats.values())


async def cost(cell: Cell, name: str, size: int) -> int:
    """Commands of one call in a fleet of that size."""
    cell.scripts.now_ms = NOW_MS
    call, _ = await STORIES[name](cell)
    await cell.client.script_load(load_source(name))
    await crowd(cell, 0, size)
    before = await commands(cell)
    await call(cell.scripts)
    return await commands(cell) - before


@pytest.mark.parametrize("name", sorted(STORIES))
async def test_a_script_costs_the_same_in_a_fleet_ten_times_as_large(cell: Cell, name: str) -> None:
    """Or it is known to grow: then this fails when it does no more."""
    few = await cost(cell, name, FEW)
    await forget_cell(cell.client, cell.keys)
    many = await cost(cell, name, MANY)
    grows = many > SPARE * few + 10
    assert grows == (name in KNOWN), f"{name}: {few} commands beside {FEW}, {many} beside {MANY}"


async def cost_beside(cell: Cell, name: str, holders: int) -> int:
    """Commands of the dearest call of a script, with so many holders of the model beside."""
    cell.scripts.now_ms = NOW_MS
    call, _ = await STORIES[name](cell)
    await cell.client.script_load(load_source(name))
    await crowd(cell, 0, MANY)
    beside = {f"x{number}": "device 1 1" for number in range(holders)}
    await cell.client.hset(cell.keys.holders(REF), mapping=beside)
    costs, run = [0], cell.scripts._run

    async def counted(script: str, *args: Any) -> Any:
        before = await commands(cell)
        answer = await run(script, *args)
        costs.append(await commands(cell) - before)
        return answer

    cell.scripts._run = counted  # type: ignore[method-assign]
    await call(cell.scripts)
    cell.scripts._run = run  # type: ignore[method-assign]
    return max(costs)


@pytest.mark.parametrize("name", sorted(FOR_HOLDERS))
async def test_a_call_costs_the_same_for_ten_times_as_many_holders(cell: Cell, name: str) -> None:
    """The rest of them is for the next call."""
    few = await cost_beside(cell, name, MANY)
    await forget_cell(cell.client, cell.keys)
    many = await cost_beside(cell, name, 10 * MANY)
    assert many <= SPARE * few + 100, f"{name}: {few} commands for {MANY}, {many} for {10 * MANY}"
    assert many < 3000
