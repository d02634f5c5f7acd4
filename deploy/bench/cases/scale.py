"""What every script costs Redis in fleets of 10 to 10,000 workers, and a whole warm request.

Each on every version of Redis that is found. The limits are those of the design: no script grows
with the fleet, and none holds Redis for longer than 5 ms.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from deploy.bench.limits import Limit, figure_of, show
from deploy.bench.report import number
from deploy.bench.results import Figure
from deploy.bench.scale import states
from deploy.bench.scale.copy_calls import COPY_CALLS
from deploy.bench.scale.request_calls import REQUEST_CALLS
from deploy.bench.scale.stage import FAR_MS, Row, Stage, open_stage
from deploy.bench.scale.states import AGAIN, CALM, FIRST, STATES, in_batch
from deploy.bench.scale.whole import ALONE, FULL_BATCHES, LOADS, NO_BATCHES, whole_request_us
from deploy.bench.workbench import Case, Workbench
from deploy.local.redis_server import RedisServer, start_redis
from deploy.local.redis_versions import binaries, of_redis

NAME = "scale"
LONGEST_MS = 5.0  # of one call of any script
SATURATED, FLAT = 2.0, 1.5  # times calm; times the smallest fleet
REQUEST_US = {FULL_BATCHES.name: 33.0, NO_BATCHES.name: 80.0, ALONE.name: 80.0}


@dataclass(frozen=True)
class Size:
    """The fleets, how often each call is measured, and what share of the whole requests."""

    workers: tuple[int, ...] = (10, 100, 1000, 10_000)
    copies: int = 10
    samples: int = 7
    many: int = (
        1000  # copies of a worker that dies, with as many requests; models that wait; sessions
    )
    dead: int = 1  # how often each of those is measured
    share: float = 1.0
    versions: tuple[str, ...] = ()  # all that are found


@dataclass
class Costs:
    """Of one version of Redis: ms of each row by workers, us of a whole request by workers."""

    rows: dict[Row, dict[int, float]] = field(default_factory=dict)
    requests: dict[str, dict[int, float]] = field(default_factory=dict)


def run(bench: Workbench, size: Size = Size()) -> Figure:
    """The largest share of its limit that anything takes; a table of each version."""
    limits: list[Limit] = []
    notes: dict[str, str | float | int] = {}
    chosen = size.versions or of_redis()
    for version in chosen:
        costs = measure(bench.scratch(f"{NAME}-{version}"), binaries()[version], size)
        show_costs(bench.console, version, costs, size)
        own = limits_of(version, costs, size)
        show(bench.console, f"Redis {version}: limits", own)
        limits += own
        notes |= notes_of(version, costs)
    title = f"scripts and whole requests in fleets of {size.workers} workers, Redis {chosen}"
    return figure_of(title, limits, notes)


def measure(folder: Path, binary: Path, size: Size) -> Costs:
    """All of one version."""
    server = start_redis(folder, binary=binary)
    try:
        return asyncio.run(_measure(server, size))
    finally:
        server.stop()


async def _measure(server: RedisServer, size: Size) -> Costs:
    costs = Costs()
    async with open_stage(server, size.many) as stage:
        for workers in size.workers:
            await stage.reset()
            await stage.fleet.grow(workers, size.copies)
            for load in LOADS:
                spent = await whole_request_us(stage, server.url, load, size.share)
                costs.requests.setdefault(load.name, {})[workers] = spent
            stage.rows.clear()
            await _calls(stage, size)
            for row, ms in stage.figures().items():
                costs.rows.setdefault(row, {})[workers] = ms
                if ms > FAR_MS:
                    stage.far.add(row)
    return costs


async def _calls(stage: Stage, size: Size) -> None:
    for _ in range(size.samples):
        for call in (*REQUEST_CALLS, *COPY_CALLS):
            await call(stage, CALM)
        await states.calm(stage)
        await states.cold(stage)
    for state in STATES:
        for _ in range(size.dead):
            await state(stage)
    await stage.fleet.load()
    for _ in range(size.samples):
        await states.busy(stage)
        for call in (*REQUEST_CALLS, *COPY_CALLS):
            await call(stage, "all busy")
    await states.open_sessions(stage)
    for _ in range(size.dead):
        await states.among_sessions(stage)


def limits_of(version: str, costs: Costs, size: Size) -> list[Limit]:
    """Of each script its slowest row, in whichever fleet; then `place`, and whole requests."""
    found = []
    for script in sorted({script for script, _ in costs.rows}):
        ms, state, workers = max(
            (ms, state, workers)
            for (name, state), by_size in costs.rows.items()
            if name == script
            for workers, ms in by_size.items()
        )
        what = f"{version} {script}, slowest: {state}, {workers} workers"
        found.append(Limit(what, ms, "ms", LONGEST_MS))
    found += _of_place(version, costs, size)
    for name, by_size in costs.requests.items():
        bound = REQUEST_US[name]
        found += [
            Limit(f"{version} whole request, {name}, {workers} workers", us, "us", bound)
            for workers, us in by_size.items()
        ]
    return found


def _of_place(version: str, costs: Costs, size: Size) -> list[Limit]:
    least, most = min(size.workers), max(size.workers)
    found = []
    for name in (str, in_batch):
        calm = costs.rows["place", name(CALM)]
        for state in (name(FIRST), name(AGAIN)):
            busy = costs.rows["place", state]
            what = f"{version} place, {state} / {name(CALM)}, {most} workers"
            found.append(Limit(what, busy[most] / calm[most], "x", SATURATED))
        for state in (name(CALM), name(FIRST), name(AGAIN)):
            by_size = costs.rows["place", state]
            what = f"{version} place, {state}: {most} / {least} workers"
            found.append(Limit(what, by_size[most] / by_size[least], "x", FLAT))
    return found


def show_costs(console: Console, version: str, costs: Costs, size: Size) -> None:
    """Milliseconds of Redis by script, state and size of the fleet."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=f"Redis {version}: ms a call")
    for column in ("script", "state"):
        table.add_column(column)
    for workers in size.workers:
        table.add_column(f"{workers}", justify="right")
    for (script, state), by_size in sorted(costs.rows.items()):
        table.add_row(script, state, *_cells(by_size, size))
    for name, by_size in costs.requests.items():
        table.add_row("whole request, us", name, *_cells(by_size, size))
    console.print(table)


def _cells(by_size: Mapping[int, float], size: Size) -> list[str]:
    """A size that was not measured is one where a smaller fleet took too long."""
    return [number(by_size[w]) if w in by_size else "too long" for w in size.workers]


def notes_of(version: str, costs: Costs) -> dict[str, str | float | int]:
    """The table, as text for the file."""
    rows = {f"{script}, {state}, ms": by for (script, state), by in costs.rows.items()}
    rows |= {f"whole request, {name}, us": by for name, by in costs.requests.items()}
    return {
        f"{version} {what}": ", ".join(f"{w}: {number(v)}" for w, v in by.items())
        for what, by in sorted(rows.items())
    }


CASE = Case(NAME, run, strict=True)
