"""Two cells, each on a Redis of its own, and gateways over them. Tests play the workers."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.local.redis_server import RedisServer, start_redis
from router.catalog.cell_map import CellMap
from shared.cell_list import CellAddress
from shared.repository import open_repository
from shared.repository.publish import publish
from tests.helpers.cell import Cell, open_cell
from tests.helpers.factories import manifest
from tests.helpers.gateway import OUTCOME, TENSOR, RunningGateway, running_gateway

Gateway = AbstractAsyncContextManager[RunningGateway]
Answer = tuple[int, Any]
NAMES = ("a", "b")
MAP = CellMap([CellAddress(name, "") for name in NAMES])


def model_of(cell: str, cells: CellMap = MAP, skip: int = 0) -> str:
    """The name of a model that belongs to a cell; `skip`: not one of the first ones."""
    names = (f"model-{number}" for number in range(1000))
    return [name for name in names if cells.home(name) == cell][skip]


HOMES = {name: model_of(name) for name in NAMES}
MOVING = HOMES["b"]  # from cell a, when b is added


@dataclass
class Fleet:
    """The cells by name, and the Redis of each."""

    cells: dict[str, Cell]
    servers: dict[str, RedisServer]
    repository: Path

    def gateway(self, names: str = "a,b", **env: str) -> Gateway:
        """A gateway of these cells; `a;0` gives one a weight."""
        parts = [item.partition(";") for item in names.split(",")]
        listed = ",".join(f"{n}={self.servers[n].url}{mark}{weight}" for n, mark, weight in parts)
        usual = {"WARMROUTE_CELLS": listed, "WARMROUTE_SHARED_MEMORY": "off"}
        return running_gateway(self.cells["a"], self.repository, **{**usual, **env})

    @contextmanager
    def hanging(self, name: str) -> Iterator[None]:
        """The Redis of a cell takes connections and answers nothing."""
        pid = self.servers[name].child.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    async def restart(self, name: str) -> None:
        """A Redis of that address, empty."""
        port = int(self.servers[name].url.rpartition(":")[2].partition("/")[0])
        folder = self.repository.parent / f"redis-{name}"
        self.servers[name] = await asyncio.to_thread(
            start_redis, folder, appendonly=False, port=port
        )

    @asynccontextmanager
    async def serving(self, gateway: RunningGateway, cell: str, *models: str) -> AsyncIterator[str]:
        """A worker `w-<cell>` that holds models and answers what is placed on it; its epoch."""
        worker, player = f"w-{cell}", self.cells[cell]
        entries = [await gateway.context.catalog.resolve(model) for model in models]
        refs = [str(entry.ref) for entry in entries]
        epoch = await player.worker(worker, holds=refs, lease_ms=600_000)
        stop = asyncio.Event()  # as redis-py may swallow a cancellation
        task = asyncio.create_task(_answer(player, worker, epoch, stop))
        try:
            yield epoch
        finally:
            stop.set()
            await task


async def _answer(cell: Cell, worker: str, epoch: str, stop: asyncio.Event) -> None:
    while not stop.is_set():
        entries = await cell.read(worker)
        if entries:
            await cell.begin(worker, epoch, entries)
            await cell.complete(worker, epoch, entries, outcome=OUTCOME)
        await asyncio.sleep(0.005)


async def infer(
    gateway: RunningGateway, model: str, **headers: str
) -> tuple[int, dict[str, str], Any]:
    """Ask a model: status, headers, document."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    path = f"/v2/models/{model}/infer"
    async with gateway.http.post(path, json={"inputs": [TENSOR]}, headers=names) as answer:
        return answer.status, dict(answer.headers), await answer.json()


async def send(gateway: RunningGateway, method: str, path: str, body: Any = None) -> Answer:
    """Any call: status and document."""
    async with gateway.http.request(method, path, json=body) as answer:
        return answer.status, await answer.json() if answer.content_length else None


@asynccontextmanager
async def two_cells(folder: Path) -> AsyncIterator[Fleet]:
    """Two cells and a repository with a model of each."""
    servers = {name: start_redis(folder / f"redis-{name}", appendonly=False) for name in NAMES}
    cells = {name: open_cell(server.url, name) for name, server in servers.items()}
    repository = folder / "models"
    repository.mkdir()
    weights = folder / "weights"
    weights.write_bytes(b"0123456789")
    for model in HOMES.values():
        made = manifest(files=[], name=model)
        target = open_repository(repository.as_uri())
        publish(target, made, {"weights/0.safetensors": weights})
    try:
        yield Fleet(cells, servers, repository)
    finally:
        for cell in cells.values():
            await cell.close()
        for server in servers.values():
            server.stop()
