"""Made-up workers at rest in processes of their own: one could not beat for thousands in time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from multiprocessing import get_context
from typing import Any

import uvloop

from deploy.bench.idle_fleet import IdleWorker
from deploy.bench.measure import BenchError
from deploy.bench.scale.fleet import Fleet, Member
from shared.connection import open_redis
from shared.keys import Keys
from shared.parent_death import end_with_parent

PROCESSES, IN_ONE = 2, 100
REGISTERED_MS = 120_000  # the lease until the first heartbeat
EACH_S, START_S = 0.01, 60.0  # so much later begins each worker of a process; all of them


@asynccontextmanager
async def idle_workers(
    url: str, keys: Keys, workers: int, copies: int
) -> AsyncIterator[None]:  # fmt: skip
    """So many workers, each registered, with copies that it alone has."""
    members = await _register(url, keys, workers, copies)
    context = get_context("spawn")
    count = min(PROCESSES, -(-workers // IN_ONE))
    stop, started = context.Event(), [context.Event() for _ in range(count)]
    children = [
        context.Process(
            target=_run, args=(url, keys, members[at::count], started[at], stop), daemon=True
        )
        for at in range(count)
    ]
    try:
        for child in children:
            child.start()
        for event in started:
            if not await asyncio.to_thread(event.wait, START_S):
                raise BenchError(f"{workers} made-up workers did not start")
        yield
    finally:
        stop.set()
        for child in children:
            await asyncio.to_thread(child.join, 30)
            if child.is_alive():
                child.kill()


async def _register(url: str, keys: Keys, workers: int, copies: int) -> list[Member]:
    client = open_redis(url)
    try:
        fleet = Fleet(client, keys, REGISTERED_MS)
        await fleet.grow(workers, copies, holders=1)
        return fleet.members
    finally:
        await client.aclose()


def _run(*args: Any) -> None:
    """The body of a process, which ends with its parent."""
    end_with_parent(os.getppid())
    uvloop.run(_rest(*args))


async def _rest(url: str, keys: Keys, members: list[Member], started: Any, stop: Any) -> None:
    fleet = [IdleWorker(url, keys, member) for member in members]
    try:
        await asyncio.gather(*(_begin(worker, EACH_S * at) for at, worker in enumerate(fleet)))
        started.set()
        await asyncio.to_thread(stop.wait)
    finally:
        with suppress(Exception):
            await asyncio.gather(*(worker.stop() for worker in fleet))


async def _begin(worker: IdleWorker, later_s: float) -> None:
    await asyncio.sleep(later_s)
    await worker.start()
