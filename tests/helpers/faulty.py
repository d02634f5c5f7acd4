"""A gateway in the test's process whose Redis is behind a proxy; the test plays the worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from router.requests import waiters
from router.stream import ingress, outbox
from shared import channel, connection
from shared.location import Address
from shared.scripts import Scripts
from tests.helpers.cell import Cell, open_cell
from tests.helpers.gateway import RunningGateway, answer_all, publish_nothing, running_gateway
from tests.helpers.proxy import Proxy
from tests.helpers.wait import wait_until

USER = "gateway"
TIMEOUT_S = 0.5


@dataclass
class Faulty:
    """A gateway, the proxy before its Redis, and a way around the proxy."""

    gateway: RunningGateway
    proxy: Proxy
    cell: Cell
    epoch: str
    patch: pytest.MonkeyPatch

    def be_impatient(self) -> None:
        """From now on the gateway waits for Redis for a moment only. (A slow machine may take
        longer than that, so only tests of silence say it.)"""
        for module in (channel, connection):
            self.patch.setattr(module, "COMMAND_TIMEOUT_S", TIMEOUT_S)
            self.patch.setattr(module, "CONNECT_TIMEOUT_S", TIMEOUT_S)

    async def config(self, **settings: Any) -> None:
        for name, value in settings.items():
            await self.cell.client.config_set(name.replace("_", "-"), value)

    async def served(self) -> bool:
        """Whether a request comes through to its answer."""
        call = asyncio.create_task(self.gateway.infer())
        await wait_until(lambda: call.done() or self.gateway.waiting == 1)
        if not call.done():
            await answer_all(self.cell, self.epoch)
        return (await call)[0] == 200

    async def refused(self, word: str) -> None:
        """All is refused as long as the fault lasts: 503, when to come back, and why."""
        for _ in range(3):
            status, headers, document = await self.gateway.infer()
            assert status == 503 and int(headers["Retry-After"]) >= 1, document
            assert word in document["error"]
        assert (await self.gateway.get("/v2/health/live"))[0] == 200

    async def not_ready(self) -> str:
        """Wait until the gateway says so; why."""
        said: list[str] = []

        async def unready() -> bool:
            status, _, document = await self.gateway.get("/v2/health/ready")
            said.append(document.get("error", ""))
            return status == 503

        await wait_until(unready)
        return said[-1]

    async def healed(self) -> None:
        """It is ready and serves again, without a restart."""

        async def ready() -> bool:
            return (await self.gateway.get("/v2/health/ready"))[0] == 200

        await wait_until(ready)
        await wait_until(self.served)


async def add_user(cell: Cell) -> None:
    """The gateway's own user, as replicas do not copy users."""
    await cell.client.acl_setuser(
        USER, enabled=True, passwords=["+secret"], keys="*", categories=["+@all"]
    )


async def says(gateway: RunningGateway, word: str) -> bool:
    """Whether a request is refused with this word."""
    return word in str((await gateway.infer())[2])


class Patient(channel.Channel):
    """The way of a test itself to Redis: it waits as long as it takes, whatever gateways do."""

    async def _open(self, at: Address) -> channel._Link:
        link = await super()._open(at)
        link._liveness.left_s = lambda now, timeout_s: timeout_s  # type: ignore[method-assign]
        return link


@asynccontextmanager
async def faulty_gateway(
    redis_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Faulty]:
    """One that is served."""
    for module in (waiters, ingress, outbox):
        monkeypatch.setattr(module, "BLOCK_MS", 100)
    cell = open_cell(redis_url, "faulty")
    cell.channel = Patient(redis_url, cell.name)
    cell.scripts = Scripts(cell.channel, cell.keys)
    await add_user(cell)
    async with Proxy.to(redis_url) as proxy:
        url = proxy.url.replace("redis://", f"redis://{USER}:secret@")
        async with running_gateway(cell, publish_nothing(folder), url) as gateway:
            epoch = await cell.worker("w1", holds=[await gateway.ref()], lease_ms=600_000)
            made = Faulty(gateway, proxy, cell, epoch, monkeypatch)
            assert await made.served()
            yield made
    await cell.close()
