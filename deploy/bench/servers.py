"""The processes that are measured: a bare echo, and a cluster as `make up` runs it.

Each is a process of its own, stopped at the end of the `with` block.
"""

from __future__ import annotations

import http.client
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.child import Child
from deploy.local.cluster import READY_S, Cluster
from deploy.local.folders import CODE
from deploy.local.ports import LOOPBACK, reserved_ports
from deploy.local.process_tree import descendants
from deploy.local.processes import start, wait_ready
from deploy.local.s3_server import S3Server

# Settings of the person who measures must not reach what is measured.
_OURS = frozenset({"REDIS_URL", "MODEL_REPOSITORY", "S3_ENDPOINT_URL", "PORT"})


@dataclass(frozen=True)
class Echo:
    """A running echo."""

    port: int
    child: Child


@contextmanager
def running_echo(folder: Path) -> Iterator[Echo]:
    """A bare echo in a process of its own."""
    with reserved_ports(1) as (port,):
        child = start(
            [sys.executable, "-m", "deploy.bench.echo", str(port)],
            name="echo",
            log=folder / "echo.log",
            env=environment({}),
            cwd=CODE,
        )
        try:
            wait_ready(child, lambda: _echoes(port), READY_S)
            yield Echo(port, child)
        finally:
            child.stop()


@contextmanager
def running_cluster(
    folder: Path, store: S3Server, settings: Mapping[str, str], *, workers: int = 1
) -> Iterator[Cluster]:
    """Redis on an empty `folder`, one gateway and `workers` workers over `store`, all ready."""
    with Cluster(folder, repository=store, settings=settings, inherited=environment({})) as cluster:
        cluster.start_gateway()
        for _ in range(workers):
            cluster.start_worker()
        cluster.wait_ready()
        yield cluster


def device_processes(cluster: Cluster) -> list[int]:
    """The process id of each worker's device process; the parent of that does nothing."""
    return [descendants(worker.child.pid)[0] for worker in cluster.workers]


def processes(cluster: Cluster) -> dict[str, int]:
    """Process ids by what they are, several workers numbered."""
    pids = device_processes(cluster)
    workers = {f"worker {n}": pid for n, pid in enumerate(pids, start=1)}
    if len(pids) == 1:
        workers = {"worker": pids[0]}
    redis_server = cluster.servers.redis_server
    assert redis_server is not None
    gateway = cluster.gateways[0].child
    return {"gateway": gateway.pid, "Redis": redis_server.child.pid, **workers}


def environment(added: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without settings of ours, and with `added`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _OURS and not name.startswith("WARMROUTE_")
    }
    return {**kept, **added}


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
