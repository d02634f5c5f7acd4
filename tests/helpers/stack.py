"""A cluster for tests: what a test does to it reads like an operator's day: add a gateway, add a
worker, kill one, ask which workers hold a model.

Processes get only the settings given here, and all are gone when the stack is closed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from deploy.local.cluster import Cluster
from deploy.local.folders import CODE as ROOT
from deploy.local.processes import Process
from deploy.local.redis_server import RedisServer
from deploy.local.s3_server import S3Server
from shared.envelope import Envelope, unpack_envelope
from tests.helpers.http import Answer, ask
from tests.helpers.pair import Signals
from tests.helpers.wait import block_until

__all__ = ["CELL", "LEASE_S", "MEMORY_BYTES", "ROOT", "Process", "Stack"]

CELL = "stack"
LEASE_S = 4  # a stall of two seconds costs nobody its lease
MEMORY_BYTES = 64 << 20


class Stack(Signals, Cluster):
    """Processes around one Redis and one repository. Close it in the end.

    `repository` is a running store or the URL of a repository; None starts a store. `settings` are
    environment variables of every process. `redis_url`: a Redis that runs already.
    """

    def __init__(
        self,
        folder: Path,
        repository: S3Server | str | None,
        settings: Mapping[str, str] | None = None,
        cells: int = 1,
        redis_url: str = "",
    ) -> None:
        usual = {
            "WARMROUTE_CELL": CELL,
            "WARMROUTE_LEASE_S": str(LEASE_S),
            "WARMROUTE_MEMORY_BYTES": str(MEMORY_BYTES),
            "WARMROUTE_DEVICE": "cpu",
            "PORT": "0",
        }
        if isinstance(repository, str):
            usual["WARMROUTE_TRUST_CODE"] = repository
        nothing_else = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder)}
        super().__init__(
            folder,
            redis_url=redis_url,
            repository=repository,
            settings={**usual, **(settings or {})},
            inherited=nothing_else,
            cells=cells,
        )
        self.open()
        self.repository = self.servers.open_repository()

    def __enter__(self) -> Self:
        return self

    # Processes -------------------------------------------------------------------------------

    def scale(self, *, gateways: int = 1, workers: int = 1) -> None:
        """Have exactly so many of each: start what is missing, stop the youngest of the rest."""
        for extra in self.gateways[gateways:] + self.workers[workers:]:
            assert extra.stop() == 0, extra.child.log_tail()
        while len(self.gateways) < gateways:
            self.add_gateway()
        while len(self.workers) < workers:
            self.add_worker()
        alive = {worker.name for worker in self.workers}
        block_until(lambda: set(self.residency()) == alive)

    def worker(self, name: str | None) -> Process:
        """The worker that an answer names."""
        return next(each for each in self.workers if each.name == name)

    # Questions -------------------------------------------------------------------------------

    def http(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One plain HTTP request to the oldest gateway."""
        return ask(self.gateways[0].url, method, path, body, headers)

    def residency(self) -> dict[str, dict[str, Any]]:
        """`GET /v2/residency`, by worker."""
        return {worker["id"]: worker for worker in self.client().workers()}

    def holders(self, model: str) -> list[str]:
        """Workers that hold a model."""
        rows = self.residency().items()
        return [name for name, row in rows if model in {held["name"] for held in row["models"]}]

    def traces(self) -> set[str]:
        """Whatever in Redis speaks of a request or of a load."""
        kinds = ("request:", "parked", "load:", "unloadable:", "holders:", "rq:job:", "deadlines")
        names = (key.decode() for key in self.redis.scan_iter(count=1000))
        found = {name for name in names if name.startswith(tuple(map(self._key, kinds)))}
        queued = [k.decode() for k in self.redis.scan_iter(self._key("work:*")) if self._length(k)]
        return found.union(queued)

    def failures(self, request_id: str) -> list[str]:
        """What the logs of all processes that there have been say of one request's failure."""
        start = f"request {request_id} failed:"
        logs = [process.log for process in self._processes]
        return [line for log in logs for line in log.splitlines() if start in line]

    def waiting(self, worker: str) -> list[Envelope]:
        """Requests that wait or run on a worker, in the order in which they were placed."""
        rows: Any = self.redis.xrange(self.keys.work(worker))
        return [unpack_envelope(fields[b"body"]) for _, fields in rows]

    # Servers ---------------------------------------------------------------------------------

    @property
    def redis_server(self) -> RedisServer:
        """The Redis that was started; a test that ended it may put another in its place."""
        assert self.servers.redis_server is not None
        return self.servers.redis_server

    @redis_server.setter
    def redis_server(self, server: RedisServer) -> None:
        self.servers.redis_server = server

    def close(self) -> None:
        """Kill everything; nothing is left."""
        for process in self._processes:
            self.kill(process)
        self.stop(grace_s=0)

    def __exit__(self, *raised: object) -> None:
        self.close()

    # Inside ----------------------------------------------------------------------------------

    def _key(self, name: str) -> str:
        return f"{self.keys.prefix}:{name}"

    def _length(self, key: bytes) -> int:
        return int(self.redis.xlen(key))
