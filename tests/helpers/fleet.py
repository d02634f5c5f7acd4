"""A gateway over models that nobody can load, whose workers the tests play through the scripts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from shared.manifest import Manifest, ref_of
from shared.repository import open_repository
from tests.helpers.cell import LEASE_MS, Cell
from tests.helpers.factories import file_entry, manifest
from tests.helpers.gateway import RunningGateway, running_gateway

Said = tuple[int, dict[str, str], Any]


@dataclass
class Fleet:
    """The gateway, its cell, and what tests do to both."""

    cell: Cell
    gateway: RunningGateway
    folder: Path

    async def ask(
        self, method: str, path: str, document: Any = None, *, raw: bytes | None = None,
        **headers: str,
    ) -> Said:  # fmt: skip
        """Status, headers and document of an answer."""
        body = raw if document is None else msgspec.json.encode(document)
        call = self.gateway.http.request(method, path, data=body, headers=headers)
        async with call as answer:
            said = await answer.read()
            return answer.status, dict(answer.headers), msgspec.json.decode(said or b"null")

    async def worker(self, name: str = "w1", budget: int = 1000, **fields: Any) -> str:
        """A worker that is ready; its epoch."""
        epoch = await self.cell.worker(name)
        record = {"state": "ready", "budget_bytes": budget, **fields}
        await self.cell.scripts.heartbeat(name, epoch, "one", LEASE_MS, 0, record)
        return epoch

    async def hold(self, worker: str, epoch: str, ref: str, size: int = 10) -> None:
        """A worker claims the load that was ordered, and has the model."""
        token = await self.cell.claim(worker, epoch, ref)
        await self.cell.scripts.announce(worker, epoch, ref, token, f"device {size}")

    async def have(self, worker: str, epoch: str, ref: str, size: int = 10) -> None:
        """A worker has the model already."""
        await self.cell.scripts.announce(worker, epoch, ref, "", f"device {size}")

    async def free(self, worker: str, epoch: str, ref: str) -> None:
        """The worker takes a copy from the map, and has nothing to drain."""
        await self.cell.scripts.retire(worker, epoch, ref)
        await self.cell.scripts.freed(worker, ref)

    async def fail(self, worker: str, epoch: str, ref: str, cause: bytes) -> None:
        """The load fails for good."""
        token = await self.cell.claim(worker, epoch, ref)
        await self.cell.scripts.fail_load(worker, ref, token, cause, 5_000)

    async def told(self, worker: str) -> list[str]:
        """The orders that a worker was given by name."""
        rows = await self.cell.client.lrange(self.cell.keys.orders(worker), 0, -1)
        return [row.decode() for row in rows]


def publish_made_up(folder: Path, name: str, *, size: int = 100, **changes: Any) -> str:
    """A version of `size` bytes whose blob is nowhere; its reference."""
    made: Manifest = manifest(name=name, files=[file_entry(size=size)], **changes)
    raw = made.encode()
    open_repository(folder.as_uri()).put_manifest(made.name, made.version, raw)
    return str(ref_of(made, raw))


@asynccontextmanager
async def fleet_of(cell: Cell, folder: Path, **env: str) -> AsyncIterator[Fleet]:
    """A gateway over the repository in `folder`, which may be filled before or later."""
    settings = {"WARMROUTE_CATALOG_TTL_S": "0.05", **env}
    async with running_gateway(cell, folder, **settings) as gateway:
        yield Fleet(cell, gateway, folder)
