"""Whether a cell goes on when its devices are busy: it must place nearly as much as when calm.

Gateways place requests for random models, workers beat with news each second, all at the product's
own timings and lease. With scripts that look at the whole fleet a cell of 1,000 workers at 95 %
placed a hundredth of what it placed at 40 %, and lost its leases.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from deploy.bench.limits import Limit, figure_of, show
from deploy.bench.measure import percentile
from deploy.bench.report import number
from deploy.bench.results import Figure, Note
from deploy.bench.scale.fleet import CALM, SATURATED
from deploy.bench.scale.heartbeats import LEASE_MS, Beats, beat_elsewhere
from deploy.bench.scale.placing import Placements, gateways_at_work, place_for
from deploy.bench.scale.stage import Stage, open_stage
from deploy.bench.scale.whole import main_thread_s
from deploy.bench.workbench import Case, Workbench
from deploy.local.redis_server import RedisServer, start_redis
from deploy.local.redis_versions import binaries, of_redis

NAME = "collapse"
KEPT_SHARE = 0.8  # of the placements at 40 %
LATEST_S = 1.0  # a heartbeat
HALF, BUSY = 0.40, SATURATED[0]


@dataclass(frozen=True)
class Size:
    """The fleets; how long each is measured, after it has settled."""

    workers: tuple[int, ...] = (1000, 3000)
    copies: int = 10
    gateways: int = 4
    settle_s: float = 3.0
    seconds: float = 12.0
    versions: tuple[str, ...] = ()  # all that are found


@dataclass(frozen=True)
class Seen:
    """Of one fleet at one share of busy time."""

    placements: Placements
    beats: Beats
    leases_lost: int
    core: float

    @property
    def placed_per_s(self) -> float:
        """Requests that got a worker."""
        return self.placements.placed / self.placements.seconds


def run(bench: Workbench, size: Size = Size()) -> Figure:
    """The largest share of its limit that anything takes."""
    limits: list[Limit] = []
    notes: dict[str, Note] = {}
    chosen = size.versions or of_redis()
    for version in chosen:
        for workers in size.workers:
            seen = {}
            for share in (HALF, BUSY):
                folder = bench.scratch(f"{NAME}-{version}-{workers}-{round(100 * share)}")
                seen[share] = _measure(folder, binaries()[version], workers, share, size)
                _show(bench.console, f"{version}, {workers} workers", share, seen[share])
            limits += _limits(f"{version}, {workers} workers", seen)
            notes |= {
                f"{version}, {workers} workers at {share:.0%}": _said(found)
                for share, found in seen.items()
            }
    show(bench.console, "limits", limits)
    title = f"a cell of {size.workers} workers at {BUSY:.0%} beside {HALF:.0%}, Redis {chosen}"
    return figure_of(title, limits, notes)


def _measure(folder: Path, binary: Path, workers: int, share: float, size: Size) -> Seen:
    (folder / "models").mkdir()
    server = start_redis(folder, binary=binary)
    try:
        return asyncio.run(_work(server, folder / "models", workers, share, size))
    finally:
        server.stop()


async def _work(server: RedisServer, models: Path, workers: int, share: float, size: Size) -> Seen:
    url = server.url
    async with open_stage(server) as stage:
        fleet, keys = stage.fleet, stage.keys
        await fleet.grow(workers, size.copies)
        await fleet.load(share, SATURATED[1] if share == BUSY else CALM[1])
        await stage.client.zadd(keys.workers, await _leases(stage, LEASE_MS))
        beating = asyncio.create_task(
            beat_elsewhere(url, keys, fleet.members, share, size.settle_s + size.seconds)
        )
        async with gateways_at_work(url, keys, models, size.gateways):
            await place_for(url, keys, fleet.refs, size.gateways, size.settle_s)
            before = await main_thread_s(stage.client)
            found = await place_for(url, keys, fleet.refs, size.gateways, size.seconds)
            core = (await main_thread_s(stage.client) - before) / found.seconds
            alive = await stage.client.zcount(keys.workers, await _now(stage), "+inf")
            beats = await beating
    return Seen(found, beats, max(workers - alive, beats.fenced), core)


async def _now(stage: Stage) -> int:
    seconds, micros = await stage.client.time()
    return int(seconds) * 1000 + int(micros) // 1000


async def _leases(stage: Stage, lease_ms: int) -> dict[str, float]:
    expiry = await _now(stage) + lease_ms
    return {member.name: float(expiry) for member in stage.fleet.members}


def _limits(what: str, seen: dict[float, Seen]) -> list[Limit]:
    kept = seen[BUSY].placed_per_s / max(seen[HALF].placed_per_s, 1.0)
    limits = [Limit(f"{what}: placed at {BUSY:.0%} / {HALF:.0%}", kept, "x", KEPT_SHARE, True)]
    for share, found in seen.items():
        at = f"{what} at {share:.0%}"
        limits += [
            Limit(f"{at}: the latest heartbeat", max(found.beats.late_s), "s", LATEST_S),
            Limit(f"{at}: heartbeats that failed", found.beats.failed, "", 0),
            Limit(f"{at}: leases lost", found.leases_lost, "", 0),
        ]
    return limits


def _show(console: Console, what: str, share: float, found: Seen) -> None:
    rows = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=f"{what}, devices {share:.0%} busy")
    for column in _figures(found):
        rows.add_column(column, justify="right")
    rows.add_row(*_figures(found).values())
    console.print(rows)


def _said(found: Seen) -> str:
    return ", ".join(f"{name} {value}" for name, value in _figures(found).items())


def _figures(found: Seen) -> dict[str, str]:
    calls, late = found.placements.call_s, found.beats.late_s
    return {
        "placed/s": number(found.placed_per_s),
        "core of Redis": f"{found.core:.0%}",
        "place p50, ms": number(percentile(calls, 0.5) * 1000),
        "p99": number(percentile(calls, 0.99) * 1000),
        "calls failed": str(found.placements.failed),
        "not placed": str(found.placements.other),
        "heartbeat late p50, ms": number(percentile(late, 0.5) * 1000),
        "late p99": number(percentile(late, 0.99) * 1000),
        "latest": number(max(late) * 1000),
        "beats": str(len(late)),
        "beats failed": str(found.beats.failed),
        "leases lost": str(found.leases_lost),
    }


CASE = Case(NAME, run, strict=True)
