"""What a cell at rest costs Redis: heartbeats, blocking reads, housekeeping, and nothing else.

Measured with gateways alone, with a thousand workers, and with two thousand, from which the cost of
ten thousand follows: each worker costs the same, or a little less where Redis seldom sleeps.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from deploy.bench.idle_workers import idle_workers
from deploy.bench.limits import Limit, figure_of, show
from deploy.bench.results import Figure, Note
from deploy.bench.scale.placing import gateways_at_work
from deploy.bench.workbench import Case, Workbench
from deploy.local.redis_server import start_redis
from shared.keys import Keys

NAME = "idle"
LARGE = 10_000
SHARE, SHARE_OF_LARGE, CONNECTIONS = 0.10, 0.60, 3


@dataclass(frozen=True)
class Size:
    """The fleets that are measured, and for how long: as long as a report stays unwritten."""

    workers: int = 1000
    crowd: int = 2000
    copies: int = 50
    gateways: int = 10
    settle_s: float = 15.0
    seconds: float = 60.0


@dataclass(frozen=True)
class Spent:
    """By Redis in a second: processor seconds of all its threads, commands, bytes into the
    append-only file; and its connections."""

    share: float
    commands: float
    connections: int
    written: float


def run(bench: Workbench, size: Size = Size()) -> Figure:
    """The largest share of its limit that anything takes. Measured once, whatever the rounds."""
    alone = _spent(bench.scratch(f"{NAME}-0"), 0, size)
    usual = _spent(bench.scratch(f"{NAME}-{size.workers}"), size.workers, size)
    crowd = _spent(bench.scratch(f"{NAME}-{size.crowd}"), size.crowd, size)
    large = alone.share + (crowd.share - alone.share) / size.crowd * LARGE
    connections = (usual.connections - alone.connections) / size.workers
    limits = [
        Limit(f"{size.workers} workers, measured", 100 * usual.share, "% of a core", 100 * SHARE),
        Limit(
            f"{LARGE} workers, from {size.crowd}", 100 * large, "% of a core", 100 * SHARE_OF_LARGE
        ),
        Limit("connections of a worker", connections, "", CONNECTIONS),
    ]
    title = f"Redis at rest, workers of {size.copies} copies, {size.gateways} gateways"
    show(bench.console, title, limits)
    return figure_of(title, limits, _notes(size, alone, usual, crowd))


def _notes(size: Size, alone: Spent, usual: Spent, crowd: Spent) -> dict[str, Note]:
    notes: dict[str, Note] = {f"{size.gateways} gateways alone, share": round(alone.share, 4)}
    for workers, spent in ((size.workers, usual), (size.crowd, crowd)):
        each = {
            "share": round(spent.share, 4),
            "us of Redis a second and worker": (spent.share - alone.share) / workers * 1e6,
            "commands a second and worker": (spent.commands - alone.commands) / workers,
            "bytes into the append-only file a second and worker": (spent.written - alone.written)
            / workers,
        }
        notes |= {f"{workers} workers, {what}": value for what, value in each.items()}
    notes["one worker, connections"] = (usual.connections - alone.connections) / size.workers
    return notes


def _spent(folder: Path, workers: int, size: Size) -> Spent:
    (folder / "models").mkdir(parents=True)
    server = start_redis(folder)
    try:
        return asyncio.run(_measure(server.url, folder / "models", workers, size))
    finally:
        server.stop()


async def _measure(url: str, models: Path, workers: int, size: Size) -> Spent:
    async with (
        gateways_at_work(url, Keys(NAME), models, size.gateways),
        idle_workers(url, Keys(NAME), workers, size.copies),
    ):
        await asyncio.sleep(size.settle_s)
        with redis.Redis.from_url(url) as client:
            before: dict[str, Any] = await asyncio.to_thread(client.info)
            await asyncio.sleep(size.seconds)
            after: dict[str, Any] = await asyncio.to_thread(client.info)
    return Spent(
        (_cpu(after) - _cpu(before)) / size.seconds,
        (after["total_commands_processed"] - before["total_commands_processed"]) / size.seconds,
        after["connected_clients"],
        (after["aof_current_size"] - before["aof_current_size"]) / size.seconds,
    )


def _cpu(info: dict[str, float]) -> float:
    return info["used_cpu_user"] + info["used_cpu_sys"]


CASE = Case(NAME, run)
