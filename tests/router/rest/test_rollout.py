"""Gateways are replaced one by one behind a load balancer that looks at their readiness."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from router.events import followers
from router.fleet import probes
from router.requests import waiters
from router.rest import server
from router.stream import ingress, outbox
from tests.helpers.cell import Cell
from tests.helpers.gateway import (
    BODY,
    INFER,
    RunningGateway,
    answer_all,
    publish_nothing,
    running_gateway,
)
from tests.helpers.wait import wait_until

CHECK_EVERY_S = 0.2
ROUNDS = 4


class Looks:
    """The clock by which gateways know how often they are looked at: it moves with each look, so
    that a pause of this machine is none of the balancer's. And the waits of gateways that stop,
    each of which ends when `noticed` is true too."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []
        self.noticed: Callable[[], bool] = lambda: True

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(seconds)
        await wait_until(self.noticed)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    made = Looks()
    monkeypatch.setattr(probes, "clock", made)
    monkeypatch.setattr(server, "asyncio", made)
    return made


class Balancer:
    """Sends each request over a new connection to the next gateway that was ready when last
    asked. Requests that were not answered with 200 are in `lost`."""

    def __init__(self, gateways: list[RunningGateway], looks: Looks) -> None:
        self.gateways, self.looks = gateways, looks
        self.up: set[str] = set()
        self.turn = 0
        self.answered = 0
        self.lost: list[str] = []

    async def check_for_ever(self) -> None:
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector) as http:
            while True:
                self.looks.now += CHECK_EVERY_S
                for gateway in list(self.gateways):
                    self._mark(gateway.url, await _is_ready(http, gateway.url))
                await asyncio.sleep(CHECK_EVERY_S)

    def _mark(self, base: str, ready: bool) -> None:
        (self.up.add if ready else self.up.discard)(base)

    async def send_for_ever(self) -> None:
        while True:
            usable = [g.url for g in self.gateways if g.url in self.up]
            self.turn += 1
            if usable:
                await self._send(usable[self.turn % len(usable)])
            await asyncio.sleep(0.005)

    async def _send(self, base: str) -> None:
        try:
            async with aiohttp.ClientSession() as http, http.post(base + INFER, data=BODY) as got:
                if got.status == 200:
                    self.answered += 1
                else:
                    self.lost.append(await got.text())
        except aiohttp.ClientError as error:
            self.lost.append(repr(error))


async def answer_some(cell: Cell, epoch: str) -> bool:
    """Answer what waits for worker w1, if anything does."""
    if await cell.client.xlen(cell.keys.work("w1")) == 0:
        return False
    return bool(await answer_all(cell, epoch))


async def _is_ready(http: aiohttp.ClientSession, base: str) -> bool:
    try:
        async with http.get(base + "/v2/health/ready") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The repository of all gateways."""
    return publish_nothing(tmp_path)


@pytest.fixture
async def gateways(cell: Cell, models: Path) -> AsyncIterator[list[RunningGateway]]:
    """Two that run."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(running_gateway(cell, models)) for _ in range(2)]


async def test_no_request_is_lost_while_gateways_are_replaced(
    cell: Cell, models: Path, gateways: list[RunningGateway], looks: Looks
) -> None:
    """One that is to stop says so first, and serves until the balancer has looked three times."""
    epoch = await cell.worker("w1", holds=[await gateways[0].ref()], lease_ms=60_000)

    async def work_for_ever() -> None:
        while True:
            await answer_some(cell, epoch)
            await asyncio.sleep(0.005)

    balancer = Balancer(gateways, looks)
    tasks = [asyncio.create_task(c) for c in (balancer.check_for_ever(), work_for_ever())]
    async with AsyncExitStack() as stack:
        await wait_until(lambda: len(balancer.up) == 2)
        tasks.append(asyncio.create_task(balancer.send_for_ever()))
        for _ in range(ROUNDS):
            await asyncio.sleep(3 * CHECK_EVERY_S)
            old = balancer.gateways[0]
            looks.noticed = lambda: old.url not in balancer.up  # noqa: B023 - within this round
            await old.drain(5.0, 10.0)
            new = await stack.enter_async_context(running_gateway(cell, models))
            balancer.gateways = [*balancer.gateways[1:], new]
            await wait_until(lambda: balancer.gateways[-1].url in balancer.up)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert balancer.lost == [] and balancer.answered > 50
    assert len([wait_s for wait_s in looks.waits if wait_s > 3 * CHECK_EVERY_S]) == ROUNDS


async def test_while_balancers_look_it_serves_not_ready_and_closes_its_connections(
    cell: Cell, gateways: list[RunningGateway], looks: Looks
) -> None:
    """Then its port closes. Without checks it stops at once."""
    (gateway, quiet), served = gateways, asyncio.Event()
    looks.noticed = served.is_set
    epoch = await cell.worker("w1", holds=[await gateway.ref()], lease_ms=60_000)
    for _ in range(3):
        await gateway.get("/v2/health/ready")
        looks.now += 0.1
    draining = asyncio.create_task(gateway.drain(5.0, 10.0))
    await wait_until(lambda: looks.waits)
    async with gateway.http.get("/v2/health/ready") as answer:
        document = await answer.json()
        assert (answer.status, document["error"]) == (503, "stopping")
    call = asyncio.create_task(gateway.infer())
    await wait_until(lambda: answer_some(cell, epoch))
    status, headers, _ = await call
    assert (status, headers["Connection"]) == (200, "close")
    assert not draining.done()
    served.set()
    await draining
    with pytest.raises(aiohttp.ClientError):
        await gateway.infer()
    await asyncio.wait_for(quiet.drain(0.0, 60.0), 20)


async def test_a_stop_with_nothing_under_way_waits_for_nothing(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for reads that block, nor for callers that are not there, nor for a connection that
    is kept open, nor for the processes that read large JSON."""
    for module in (waiters, ingress, outbox, followers):
        monkeypatch.setattr(module, "BLOCK_MS", 60_000)
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(running_gateway(cell, publish_nothing(tmp_path)))
        assert await gateway.context.processes.run(os.getpid) != os.getpid()
        assert (await gateway.get("/v2/health/live"))[0] == 200
        await asyncio.wait_for(gateway.drain(60.0, 60.0), 20)
        await asyncio.wait_for(stack.aclose(), 20)
