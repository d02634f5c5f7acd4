"""A whole cell of real processes: Redis, a repository, gateways and workers, on free ports.

What a test says to it reads like an operator's day: add a gateway, add a worker, kill one, ask who
holds what. Every process is a child that gets only the settings given here, and all are gone when
the stack is closed.
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from deploy.local.processes import Child, start
from deploy.local.redis_server import start_redis
from shared.envelope import Envelope, unpack_envelope
from shared.keys import Keys
from shared.repository import open_repository
from tests.helpers.http import Answer, ask
from tests.helpers.pair import Process, Signals
from tests.helpers.wait import block_until
from warmroute import Client

ROOT = Path(__file__).resolve().parents[2]
CELL = "stack"
LEASE_S = 3
MEMORY_BYTES = 64 << 20
_LISTENS = re.compile(r"gateway listens on (http://\S+)")


class Stack(Signals):
    """Processes around one Redis and one repository (`repository_url`). Close it in the end.

    `settings` are those of every process, in the words of the environment.
    """

    def __init__(
        self, folder: Path, repository_url: str, settings: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.keys = Keys(CELL)
        self.redis_server = start_redis(folder / "redis")
        self.redis = redis.Redis.from_url(self.redis_server.url)
        given = dict(settings or {})
        self.repository_url = repository_url
        self.repository = open_repository(
            repository_url, endpoint_url=given.get("S3_ENDPOINT_URL") or None
        )
        self._settings = given
        self._processes: list[Process] = []
        self._clients: dict[str, Client] = {}
        self._started: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Processes -------------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        """What every process of this stack is told; nothing of the tests' own environment."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
            "REDIS_URL": self.redis_server.url,
            "MODEL_REPOSITORY": self.repository_url,
            "WARMROUTE_CELL": CELL,
            "WARMROUTE_LEASE_S": str(LEASE_S),
            "WARMROUTE_TRUST_CODE": self.repository_url,
            "WARMROUTE_DISK_CACHE": str(self.folder / "cache"),
            "WARMROUTE_MEMORY_BYTES": str(MEMORY_BYTES),
            "WARMROUTE_DEVICE": "cpu",
            "PORT": "0",
            **self._settings,
        }

    def start(self, module: str, name: str, settings: Mapping[str, str]) -> Child:
        """`python -m module` as a child, not waited for."""
        command = [sys.executable, "-u", "-m", module]
        env = {**self.environment, **settings}
        return start(command, name=name, log=self.folder / f"{name}.log", env=env, cwd=ROOT)

    def add_gateway(self, **settings: str) -> Process:
        """Start a gateway and wait until it is ready."""
        name = self._next_name("gateway")
        child = self.start("router", name, settings)
        self._await(child, lambda: _LISTENS.search(child.log.read_text()))
        found = _LISTENS.search(child.log.read_text())
        assert found
        gateway = Process(name, child, found[1])
        self._await(child, lambda: ask(gateway.url, "GET", "/v2/health/ready").status == 200)
        self._processes.append(gateway)
        return gateway

    def add_worker(self, *, memory_bytes: int = MEMORY_BYTES, **settings: str) -> Process:
        """Start a worker and wait until the cell knows it."""
        name = self._next_name("worker")
        own = {"WARMROUTE_WORKER_ID": name}
        child = self.start("worker", name, {**own, **settings})
        self._await(child, lambda: self.redis.hget(self.keys.worker(name), "state") == b"ready")
        self._processes.append(Process(name, child))
        return self._processes[-1]

    def stop(self, process: Process) -> int:
        """SIGTERM, and wait for its end; the exit status."""
        return process.child.stop(grace_s=30)

    def scale(self, *, gateways: int = 1, workers: int = 1) -> None:
        """Have exactly so many of each: start what is missing, stop the youngest of the rest."""
        for extra in self.gateways[gateways:] + self.workers[workers:]:
            assert self.stop(extra) == 0, extra.child.log_tail()
        while len(self.gateways) < gateways:
            self.add_gateway()
        while len(self.workers) < workers:
            self.add_worker()
        alive = {worker.name for worker in self.workers}
        block_until(lambda: set(self.residency()) == alive)

    @property
    def gateways(self) -> list[Process]:
        """Those that run, oldest first."""
        return [each for each in self._processes if each.url and each.running]

    @property
    def workers(self) -> list[Process]:
        """Those that run, oldest first."""
        return [each for each in self._processes if not each.url and each.running]

    def worker(self, name: str | None) -> Process:
        """The worker that an answer names."""
        return next(each for each in self.workers if each.name == name)

    # Questions -------------------------------------------------------------------------------

    def client(self, gateway: Process | None = None) -> Client:
        """A client of a gateway, by default the oldest that runs."""
        url = (gateway or self.gateways[0]).url
        if url not in self._clients:
            self._clients[url] = Client(url, connections=64)
        return self._clients[url]

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
        logs = [process.child.log.read_text() for process in self._processes]
        return [line for log in logs for line in log.splitlines() if start in line]

    def waiting(self, worker: str) -> list[Envelope]:
        """Requests that wait or run on a worker, in the order in which they were placed."""
        rows = self.redis.xrange(self.keys.work(worker))
        return [unpack_envelope(fields[b"body"]) for _, fields in rows]

    def close(self) -> None:
        """Stop everything; nothing is left."""
        for client in self._clients.values():
            client.close()
        self.redis.close()
        for process in self._processes:
            self.kill(process)
        self.redis_server.stop()

    # Inside ----------------------------------------------------------------------------------

    def _next_name(self, kind: str) -> str:
        self._started[kind] += 1
        return f"{kind}-{self._started[kind]}"

    def _key(self, name: str) -> str:
        return f"{self.keys.prefix}:{name}"

    def _length(self, key: bytes) -> int:
        return int(self.redis.xlen(key))

    @staticmethod
    def _await(child: Child, ready: Any) -> None:
        block_until(lambda: child.returncode is not None or ready(), 60)
        assert child.returncode is None, child.log_tail()
