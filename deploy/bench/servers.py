"""The processes that are measured: a bare echo, and Redis, gateway and workers over a repository.

They are those of `make up`, with its settings where a case names no others; each in a process of
its own, stopped at the end of the `with` block.
"""

from __future__ import annotations

import http.client
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.ports import LOOPBACK, free_ports
from deploy.local.processes import Child, descendants, start, wait_ready
from deploy.local.redis_server import RedisServer, start_redis
from shared.keys import Keys
from warmroute import Client, ClientError

ROOT = Path(__file__).resolve().parents[2]
READY_S = 60.0
# Settings of the person who measures do not reach what is measured.
_OURS = frozenset({"REDIS_URL", "MODEL_REPOSITORY", "S3_ENDPOINT_URL", "PORT"})


@dataclass(frozen=True)
class Stack:
    """A running cell. `keys` names what it keeps in its Redis."""

    port: int
    redis: RedisServer
    gateway: Child
    workers: list[Child]
    client: Client
    keys: Keys

    @property
    def processes(self) -> dict[str, int]:
        """Process ids by what they are, several workers numbered. Of a worker it is its device
        process; the parent of that does nothing."""
        pids = [self.below(number)[0] for number in range(len(self.workers))]
        workers = {f"worker {n}": pid for n, pid in enumerate(pids, start=1)}
        if len(pids) == 1:
            workers = {"worker": pids[0]}
        return {"gateway": self.gateway.pid, "Redis": self.redis.child.pid, **workers}

    def below(self, worker: int) -> list[int]:
        """The processes that worker number `worker` (from 0) has started and that run."""
        return descendants(self.workers[worker].pid)


@dataclass(frozen=True)
class Echo:
    """A running echo."""

    port: int
    child: Child


@contextmanager
def running_echo(folder: Path) -> Iterator[Echo]:
    """A bare echo in a process of its own."""
    port = free_ports(1)[0]
    child = _start("deploy.bench.echo", folder, {}, str(port))
    try:
        wait_ready(child, lambda: _echoes(port), READY_S)
        yield Echo(port, child)
    finally:
        child.stop()


@contextmanager
def running_stack(folder: Path, env: Mapping[str, str], *, workers: int = 1) -> Iterator[Stack]:
    """Redis on an empty `folder`, one gateway and `workers` workers, ready to be asked. `env` says
    which repository and which settings."""
    with ExitStack() as running:
        redis = start_redis(folder / "redis")
        running.callback(redis.stop)
        port = free_ports(1)[0]
        settings = {**env, "REDIS_URL": redis.url, "PORT": str(port)}
        gateway = _start("router", folder, settings)
        running.callback(gateway.stop)
        client = running.enter_context(Client(f"http://{LOOPBACK}:{port}", retries=0))
        children = []
        for number in range(1, workers + 1):
            child = _start("worker", folder, settings, log=f"worker-{number}")
            children.append(child)
            running.callback(child.stop)
        wait_ready(gateway, client.ready, READY_S)
        for child in children:
            wait_ready(child, lambda: _ready_workers(client) == workers, READY_S)
        yield Stack(port, redis, gateway, children, client, Keys())


def environment(added: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without settings of ours, and with `added`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _OURS and not name.startswith("WARMROUTE_")
    }
    return {**kept, **added}


def _start(
    module: str, folder: Path, env: Mapping[str, str], *arguments: str, log: str = ""
) -> Child:
    return start(
        [sys.executable, "-m", module, *arguments],
        name=f"{module} (bench)",
        log=folder / f"{log or module}.log",
        env=environment(env),
        cwd=ROOT,
    )


def _echoes(port: int) -> bool:
    """Whether it is our echo that answers on `port`, and not another server."""
    token = secrets.token_bytes(16)
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=1)
    try:
        connection.request("POST", "/v2/models/any/infer", body=token)
        return connection.getresponse().read() == token
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _ready_workers(client: Client) -> int:
    try:
        return sum(worker["state"] == "ready" for worker in client.workers())
    except ClientError:
        return 0
