"""A whole gateway inside the test's process, with real sockets, and a model without a worker."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from aiohttp import web

from router.app import build_app
from router.catalog.catalog import LATEST
from router.rest.connection_limits import CHECK_EVERY_S, Runner
from router.rest.context import CONTEXT, GatewayContext
from router.rest.server import bound_port, drain, make_runner
from shared import config as settings
from shared.envelope import Outcome, pack
from shared.repository import open_repository
from shared.repository.publish import publish
from shared.service import Loop, Supervisor
from tests.helpers.cell import Cell, Entry
from tests.helpers.factories import manifest, tensor

MODEL = "mnist"
INFER = f"/v2/models/{MODEL}/infer"
TENSOR = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}
BODY = json.dumps({"inputs": [TENSOR]}).encode()
OUTCOME = pack(Outcome([tensor(np.array([[3, 4]], "<f4"), "y")]))


@dataclass
class RunningGateway:
    """A gateway that listens. `http` keeps connections alive."""

    context: GatewayContext
    http: aiohttp.ClientSession
    url: str
    _app: web.Application
    _runner: Runner
    _site: web.BaseSite

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def waiting(self) -> int:
        """Callers who wait for the outcome of an accepted request."""
        return len(self.context.intake._dispatch.open_tickets())

    @property
    def draining(self) -> bool:
        """Whether it refuses new requests."""
        return self.context.intake._dispatch.draining

    async def infer(self, **headers: str) -> tuple[int, dict[str, str], Any]:
        """Ask the model: status, headers, document."""
        async with self.http.post(INFER, data=BODY, headers=headers) as answer:
            return answer.status, dict(answer.headers), await answer.json()

    async def get(self, path: str) -> tuple[int, dict[str, str], Any]:
        """A plain GET."""
        async with self.http.get(path) as answer:
            return answer.status, dict(answer.headers), await answer.json()

    async def drain(self, handover_s: float = 0.0, delay_s: float = 0.0) -> None:
        """What SIGTERM does."""
        await drain(self._app, self._runner, self._site, handover_s, delay_s)

    async def ref(self) -> str:
        """The ref of the model."""
        return str((await self.context.catalog.resolve(MODEL, LATEST)).ref)


@asynccontextmanager
async def running_gateway(
    cell: Cell, folder: Path, url: str = "", **env: str
) -> AsyncIterator[RunningGateway]:
    """A gateway of `cell` over the repository in `folder` (see `publish_nothing`)."""
    config = settings.read(
        settings.RouterConfig,
        {
            "REDIS_URL": url or cell.url, "WARMROUTE_CELL": cell.name, "PORT": "0",
            "MODEL_REPOSITORY": folder.as_uri(), **env,
        },
    )  # fmt: skip
    app = build_app(config)
    runner = make_runner(app, config)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    watch = Supervisor([Loop("connections", runner.connections.check_once, CHECK_EVERY_S / 10)])
    watch.start()
    base = f"http://127.0.0.1:{bound_port(runner)}"
    try:
        async with aiohttp.ClientSession(base) as http:
            yield RunningGateway(app[CONTEXT], http, base, app, runner, site)
    finally:
        await watch.stop()
        await runner.cleanup()


def publish_nothing(folder: Path, **changes: Any) -> Path:
    """A repository with one model whose weights nobody can load; tests play its worker. `changes`:
    to its manifest."""
    root = folder / "models"
    root.mkdir()
    weights = folder / "weights"
    weights.write_bytes(b"0123456789")
    made = manifest(files=[], **changes)
    publish(open_repository(root.as_uri()), made, {"weights/0.safetensors": weights})
    return root


async def answer_all(cell: Cell, epoch: str, outcome: bytes = OUTCOME) -> list[Entry]:
    """Play worker w1: run and answer whatever was placed on it and not read yet, but for what is
    withdrawn."""
    worker = "w1"
    entries = await cell.read(worker)
    verdicts = await cell.begin(worker, epoch, entries)
    assert set(verdicts) <= {b"run", b"cancelled"}
    parts: dict[bytes, list[Entry]] = {b"run": [], b"cancelled": []}
    for entry, verdict in zip(entries, verdicts, strict=True):
        parts[verdict].append(entry)
    await cell.complete(worker, epoch, parts[b"cancelled"], "cancelled", b"cancelled it is")
    assert set(await cell.complete(worker, epoch, parts[b"run"], outcome=outcome)) <= {1}
    return parts[b"run"]
