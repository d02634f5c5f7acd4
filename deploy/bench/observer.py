"""Looks at `GET /v2/residency` again and again, beside a load: budgets, copies, loads."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from deploy.bench.measure import BenchError
from deploy.local.cluster import Cluster
from deploy.local.ports import LOOPBACK
from deploy.local.process_tree import descendants
from warmroute import Client, ClientError

EVERY_S = 0.05
REPORTED_S = 2.5  # a worker reports its loads once a second


@dataclass
class Observed:
    """What was seen. `fullest`: the largest part of its budget that a worker used; `copies`: the
    most copies of each model at a time."""

    looks: int = 0
    fullest: float = 0.0
    over: list[str] = field(default_factory=list)
    copies: Counter[str] = field(default_factory=Counter)
    now: Counter[str] = field(default_factory=Counter)

    def look(self, workers: list[dict[str, Any]]) -> None:
        """Take one report into account."""
        self.looks += 1
        for worker in workers:
            used, budget = worker["used_bytes"], worker["budget_bytes"]
            if budget:
                self.fullest = max(self.fullest, used / budget)
            if used > budget:
                self.over.append(f"{worker['id']} used {used} of {budget} bytes")
        rows = [model for worker in workers for model in worker["models"]]
        self.now = Counter(row["name"] for row in rows if row["tier"] == "device")
        self.copies |= self.now

    def check(self) -> None:
        """BenchError if a worker was seen over its budget, or nothing was seen at all."""
        if self.over:
            raise BenchError(f"over the budget {len(self.over)} times: {self.over[0]}")
        if not self.looks:
            raise BenchError("the residency was not seen once")


@contextmanager
def observing(port: int, every_s: float = EVERY_S) -> Iterator[Observed]:
    """Look every so often while the block runs, and once at its end."""
    seen, ended = Observed(), threading.Event()
    client = Client(f"http://{LOOPBACK}:{port}", retries=0)

    def look_again() -> None:
        while not ended.wait(every_s):
            with suppress(ClientError):
                seen.look(client.workers())

    thread = threading.Thread(target=look_again, name="observer")
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()
        with suppress(ClientError):
            seen.look(client.workers())
        client.close()


def loads_reported(cluster: Cluster) -> int:
    """Loads that the workers have carried out so far, once all of them have said so."""
    time.sleep(REPORTED_S)
    found = 0
    for worker in cluster.client().workers():
        found += int(cluster.redis.hget(cluster.keys.worker(worker["id"]), "loads_running") or 0)
    return found


def processes(cluster: Cluster) -> dict[str, int]:
    """Process ids by what they are, several workers numbered; of a worker that of its device
    process, as the parent of that does nothing."""
    pids = [device_process(cluster, number) for number in range(len(cluster.workers))]
    workers = {f"worker {number}": pid for number, pid in enumerate(pids, start=1)}
    if len(pids) == 1:
        workers = {"worker": pids[0]}
    redis_server = cluster.servers.redis_server
    assert redis_server is not None
    gateway = cluster.gateways[0].child
    return {"gateway": gateway.pid, "Redis": redis_server.child.pid, **workers}


def device_process(cluster: Cluster, worker: int = 0) -> int:
    """The id of a worker's one device process; BenchError if it has not exactly one."""
    below = descendants(cluster.workers[worker].child.pid)
    if len(below) != 1:
        raise BenchError(f"worker {worker + 1} has {len(below)} device processes")
    return below[0]
