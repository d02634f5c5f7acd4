"""No script grows with the fleet: its commands are counted, beside few workers and many."""

from __future__ import annotations

import pytest

from shared.script_runner import load_source
from tests.helpers.cell import Cell
from tests.helpers.leaks import forget_cell
from tests.lua.fleet import NOW_MS
from tests.lua.test_lost_answers import STORIES

FEW, MANY = 100, 1000  # more than a choice looks at
EVER_MS = 4_000_000_000_000
# A sample is drawn at random: how many of it are ready, or near, differs from call to call.
SPARE = 1.3
# Scripts that still ask every process.
KNOWN: set[str] = set()


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
