"""A large fleet, written into Redis as its workers' scripts would leave it."""

from __future__ import annotations

import json
from typing import Any

from tests.helpers.cell import Cell


async def made_up_fleet(
    cell: Cell, *, workers: int, copies: int, models: int, lease_ms: int = 60_000
) -> list[str]:
    """Workers with copies of `models` models; the references of those."""
    refs = [f"model-{number:06}:1:0123456789ab" for number in range(models)]
    seconds, _ = await cell.client.time()
    until = int(seconds) * 1000 + lease_ms
    for first in range(0, workers, 50):
        pipe = cell.client.pipeline(transaction=False)
        for number in range(first, min(first + 50, workers)):
            _add(cell, pipe, number, [refs[(number * copies + n) % models] for n in range(copies)])
            pipe.zadd(cell.keys.workers, {f"w-{number:05}": until})
        await pipe.execute()
    names = [ref.partition(":")[0] for ref in refs]
    for first in range(0, models, 500):
        pipe = cell.client.pipeline(transaction=False)
        for name in names[first : first + 500]:
            pipe.hset(cell.keys.loaded_versions(name), "1", "0123456789ab")
            pipe.pexpire(cell.keys.loaded_versions(name), lease_ms)
        await pipe.execute()
    return refs


def _add(cell: Cell, pipe: Any, number: int, held: list[str]) -> None:
    worker, keys = f"w-{number:05}", cell.keys
    report = json.dumps({ref: ["device", 1000, 2500, 7] for ref in held})
    record = {"epoch": "1", "state": "ready", "device_name": "cpu", "copies": report}
    pipe.hset(keys.worker(worker), mapping=record)
    pipe.sadd(keys.holds(worker), *held)
    for ref in held:
        pipe.hset(keys.holders(ref), worker, "device 1000 1700000000000")
