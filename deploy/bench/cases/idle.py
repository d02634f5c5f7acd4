"""What a cell at rest costs Redis: heartbeats, blocking reads, housekeeping, and nothing else."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import redis

from deploy.bench.idle_fleet import idle_fleet
from deploy.bench.results import Figure, Target, alone
from deploy.bench.workbench import Case, Workbench
from deploy.local.redis_server import start_redis

NAME = "idle"
SETTLE_S = 8.0
SCALE = 1000
# A share of one core, per 1,000 workers with 50 copies each, and 10 gateways.
TARGET = Target(of="ours", at_most=0.10)


@dataclass(frozen=True)
class Size:
    """The fleet that is measured, and for how long: twice as long as a report stays unwritten."""

    workers: int = 200
    copies: int = 50
    gateways: int = 10
    seconds: float = 20.0


@dataclass(frozen=True)
class Spent:
    """By Redis in a second: processor seconds of all its threads, commands; and connections."""

    share: float
    commands: float
    connections: int
    written: float


def run(bench: Workbench, size: Size = Size()) -> Figure:
    """Redis's share of a core: measured with gateways alone and with workers, per 1,000 of them."""
    shares, notes = [], {}
    for at in range(bench.rounds):
        alone_ = _spent(bench.scratch(f"{NAME}-{at}"), 0, size)
        all_ = _spent(bench.scratch(f"{NAME}-{at}-w"), size.workers, size)
        per_worker = (all_.share - alone_.share) / size.workers
        shares.append(alone_.share + SCALE * per_worker)
        notes = {
            f"{size.gateways} gateways alone, share of a core": round(alone_.share, 4),
            "one worker, us of Redis a second": round(per_worker * 1e6, 1),
            "one worker, commands a second": round(
                (all_.commands - alone_.commands) / size.workers, 2
            ),
            "one worker, bytes into the append-only file a second": round(
                (all_.written - alone_.written) / size.workers
            ),
            "one worker, connections": (all_.connections - alone_.connections) / size.workers,
        }
        bench.console.print(f"  round {at + 1}: {shares[-1]:.4f} of a core; {notes}")
    title = f"Redis at rest, per {SCALE} workers of {size.copies} copies, {size.gateways} gateways"
    return alone(title, "share of a core", shares, target=TARGET, notes=notes)


def _spent(folder: Path, workers: int, size: Size) -> Spent:
    (folder / "models").mkdir(parents=True)
    server = start_redis(folder)
    try:
        return asyncio.run(_measure(server.url, folder / "models", workers, size))
    finally:
        server.stop()


async def _measure(url: str, models: Path, workers: int, size: Size) -> Spent:
    async with idle_fleet(url, models, workers, size.copies, size.gateways) as fleet:
        await asyncio.sleep(SETTLE_S)
        for worker in fleet:
            worker.spread_reads()
        with redis.Redis.from_url(url) as client:
            before = await asyncio.to_thread(client.info)
            await asyncio.sleep(size.seconds)
            after = await asyncio.to_thread(client.info)
    return Spent(
        (_cpu(after) - _cpu(before)) / size.seconds,
        (after["total_commands_processed"] - before["total_commands_processed"]) / size.seconds,
        after["connected_clients"],
        (after["aof_current_size"] - before["aof_current_size"]) / size.seconds,
    )


def _cpu(info: dict[str, float]) -> float:
    return info["used_cpu_user"] + info["used_cpu_sys"]


CASE = Case(NAME, run)
