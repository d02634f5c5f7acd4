"""A whole cell on this machine: Redis, a model repository, gateways and workers.

`make up`, the benchmarks and the tests are built on it:

    with Cluster(folder) as cluster:
        cluster.add_gateway()
        cluster.add_worker()
        cluster.client().infer("tiny-mlp", inputs)

Everything is a child process; all have ended when the block ends.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Self

import redis

from deploy.local.cell_client import open_client
from deploy.local.child import Child, Restart
from deploy.local.folders import CODE
from deploy.local.ports import LOOPBACK, reserved_ports
from deploy.local.processes import Process, start, wait_ready
from deploy.local.s3_server import S3Server
from deploy.local.servers import Servers
from shared.cell_list import CellAddress
from shared.keys import Keys
from warmroute import Client

CELL = "warmroute"
READY_S = 60.0
GRACE_S = 15.0  # workers and gateways drain on SIGTERM
POLL_S = 0.02
PROBE_S = 2.0  # a gateway that is ready answers sooner
COMMANDS = {kind: [sys.executable, "-u", "-m", kind] for kind in ("router", "worker")}

Show = Callable[[str, str], None]


class Cluster:
    """Redis and a repository from the start of the block on; gateways and workers are added.

    redis_url, repository   servers that run already (`servers.py`); others are started
    settings     environment variables of every process; they win over those made here
    inherited    the environment under them
    commands     what starts a "router" and a "worker"
    show         gets each line of output, with the name of its process; without it output goes to
                 `folder`/<name>.log
    restart      how processes are started again when they end; None leaves them ended
    worker_ids   what the names of the workers begin with, where the cell may have others
    cells        how many: the first has the name that the settings give, the next ones that name
                 with -2, -3 ... behind it; workers take turns in them
    cwd          the working directory of every process; None leaves it that of this process
    """

    def __init__(
        self, folder: Path, *, redis_url: str = "", repository: S3Server | str | None = None,
        settings: Mapping[str, str] | None = None, inherited: Mapping[str, str] | None = None,
        commands: Mapping[str, Sequence[str]] = COMMANDS, show: Show | None = None,
        restart: Restart | None = None, worker_ids: str = "", cwd: Path | None = CODE,
        cells: int = 1,
    ) -> None:  # fmt: skip
        self.folder = folder
        self.servers = Servers(folder, redis_url, repository, cells)
        self._settings, self._inherited = dict(settings or {}), dict(inherited or {})
        self._commands, self._show, self._restart = commands, show, restart
        self._worker_ids, self._cwd = worker_ids, cwd
        self._processes: list[Process] = []
        self._clients: dict[str, Client] = {}
        self._started: Counter[str] = Counter()
        self._closing = ExitStack()
        self._cell = self._settings.get("WARMROUTE_CELL") or CELL
        self._cell_of: dict[str, CellAddress] = {}  # of each worker
        self.keys = Keys(self._cell)

    def open(self) -> Self:
        """Start the servers; the block calls this."""
        try:
            self._closing.callback(self.servers.stop)
            self.servers.start(self._report)
            client = redis.Redis.from_url(self.servers.redis_url)
            self.redis = self._closing.enter_context(client)
        except BaseException:
            self._closing.close()
            raise
        return self

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def environment(self) -> dict[str, str]:
        """What every process gets beside what it inherits. It holds secrets."""
        cache = {"WARMROUTE_DISK_CACHE": str(self.folder / "cache")}
        return {**cache, **self.servers.environment, **self._settings}

    # Processes -------------------------------------------------------------------------------

    def launch(self, module: str, name: str, settings: Mapping[str, str]) -> Child:
        """A "router" or a "worker" as a child that is not waited for."""
        show = self._show
        return start(
            self._commands[module],
            name=name,
            log=partial(show, name) if show else self.folder / f"{name}.log",
            env={**self._inherited, **self.environment, **settings},
            cwd=self._cwd,
            restart=self._restart,
        )

    @property
    def cells(self) -> list[CellAddress]:
        """The cells, in the order in which they were added."""
        urls = enumerate(self.servers.redis_urls)
        return [CellAddress(self._cell + (f"-{at + 1}" if at else ""), url) for at, url in urls]

    def start_gateway(self, *, port: int | None = None, **settings: str) -> Process:
        """Start a gateway, on a free port if none is given; it is not waited for."""
        if port is None:
            (port,) = self._closing.enter_context(reserved_ports(1))
        name, cells = self._next_name("gateway"), self.cells
        if len(cells) > 1:
            listed = ",".join(f"{cell.name}={cell.redis_url}" for cell in cells)
            settings = {"WARMROUTE_CELLS": listed, **settings}
        child = self.launch("router", name, {**settings, "PORT": str(port)})
        return self._added(Process(name, child, f"http://{LOOPBACK}:{port}"))

    def start_worker(self, *, cell: CellAddress | None = None, **settings: str) -> Process:
        """Start a worker, by default in the cell whose turn it is; it is not waited for."""
        name = self._next_name(f"{self._worker_ids}worker")
        cell = cell or self.cells[len(self._cell_of) % len(self.cells)]
        self._cell_of[name] = cell
        own = {"WARMROUTE_CELL": cell.name, "REDIS_URL": cell.redis_url}
        child = self.launch("worker", name, {"WARMROUTE_WORKER_ID": name, **own, **settings})
        return self._added(Process(name, child))

    def add_gateway(self, *, port: int | None = None, **settings: str) -> Process:
        """Start a gateway and wait until it is ready."""
        gateway = self.start_gateway(port=port, **settings)
        self._await(gateway, READY_S)
        return gateway

    def add_worker(self, *, cell: CellAddress | None = None, **settings: str) -> Process:
        """Start a worker and wait until its cell may use it."""
        worker = self.start_worker(cell=cell, **settings)
        self._await(worker, READY_S)
        return worker

    def wait_ready(self, within_s: float = READY_S) -> None:
        """Return when every gateway and every worker is ready; Unavailable says which is not."""
        ends = time.monotonic() + within_s
        for process in self._processes:
            self._await(process, ends - time.monotonic())

    def is_ready(self, process: Process) -> bool:
        """Whether a gateway answers, or the cell may use a worker."""
        if process.url:
            with Client(process.url, timeout=PROBE_S, retries=0) as client:
                return client.ready()
        cell = self._cell_of[process.name]
        try:
            with open_client(cell.redis_url, cell.name) as client:
                state = client.hget(Keys(cell.name).worker(process.name), "state")
        except redis.RedisError:
            return False
        return bool(state == b"ready")

    def stop(self, grace_s: float = GRACE_S, hurry: Event | None = None) -> None:
        """SIGTERM to every gateway and worker, SIGKILL to those that still run after `grace_s` or
        once `hurry` is set; then the servers that were started here. Returns when all have ended.
        """
        for client in self._clients.values():
            client.close()
        for process in self._processes:
            process.child.terminate()
        ends = time.monotonic() + grace_s
        while any(process.running for process in self._processes):
            if time.monotonic() >= ends or (hurry is not None and hurry.is_set()):
                break
            time.sleep(POLL_S)
        for process in self._processes:
            if process.running:
                self._report(process.name, "still runs: killed")
                process.child.kill()
        self._closing.close()

    @property
    def gateways(self) -> list[Process]:
        """Those that run, oldest first."""
        return [each for each in self._processes if each.url and each.running]

    @property
    def workers(self) -> list[Process]:
        """Those that run, oldest first."""
        return [each for each in self._processes if not each.url and each.running]

    @property
    def port(self) -> int:
        """That of the oldest gateway."""
        return int(self.gateways[0].url.rpartition(":")[2])

    def client(self, gateway: Process | None = None) -> Client:
        """A client of a gateway, by default the oldest that runs."""
        url = (gateway or self.gateways[0]).url
        if url not in self._clients:
            self._clients[url] = Client(url, connections=64)
        return self._clients[url]

    def _next_name(self, kind: str) -> str:
        self._started[kind] += 1
        return f"{kind}-{self._started[kind]}"

    def _added(self, process: Process) -> Process:
        self._processes.append(process)
        return process

    def _await(self, process: Process, within_s: float) -> None:
        wait_ready(process.child, lambda: self.is_ready(process), within_s)

    def _report(self, name: str, line: str) -> None:
        if self._show is not None:
            self._show(name, line)
