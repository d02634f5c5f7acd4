"""The end of a gateway: nobody who waits is left without an answer, nothing accepted is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from router.requests import hand_over as module
from router.requests import shared_memory
from tests.helpers.cell import Cell
from tests.helpers.gateway import (
    BODY,
    RunningGateway,
    answer_all,
    publish_nothing,
    running_gateway,
)
from tests.helpers.proxy import Proxy
from tests.helpers.wait import wait_until


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The repository of both gateways."""
    return publish_nothing(tmp_path)


@pytest.fixture
async def leaver(cell: Cell, models: Path) -> AsyncIterator[RunningGateway]:
    """The gateway that stops."""
    async with running_gateway(cell, models) as gateway:
        yield gateway


@pytest.fixture
async def heir(cell: Cell, models: Path) -> AsyncIterator[RunningGateway]:
    """Another one of the cell."""
    async with running_gateway(cell, models) as gateway:
        yield gateway


@pytest.fixture
async def epoch(cell: Cell, leaver: RunningGateway) -> str:
    """Of worker w1, which holds the model and is played by the test."""
    return await cell.worker("w1", holds=[await leaver.ref()])


async def test_callers_who_wait_are_told_where_to_ask(
    cell: Cell, leaver: RunningGateway, heir: RunningGateway, epoch: str
) -> None:
    """202 with Location; the requests go on, and another gateway answers for them."""
    calls = [asyncio.create_task(leaver.infer()) for _ in range(20)]
    await wait_until(lambda: leaver.waiting == 20)
    await leaver.drain()

    answers = await asyncio.gather(*calls)
    for status, headers, document in answers:
        assert status == 202 and document["status"] == "queued"
        assert headers["Location"] == f"/v2/requests/{document['id']}"
        assert headers["Warmroute-Request-Id"] == document["id"]
        assert headers["Connection"] == "close" and "Preference-Applied" not in headers
    assert len(await answer_all(cell, epoch)) == 20
    for _, headers, _ in answers:
        status, _, document = await heir.get(headers["Location"])
        assert (status, document["status"]) == (200, "succeeded")
        assert document["response"]["outputs"][0]["data"] == [3.0, 4.0]


async def test_one_that_waits_for_a_load_is_handed_over_too(
    cell: Cell, leaver: RunningGateway, heir: RunningGateway
) -> None:
    """A parked request runs when a worker comes."""
    call = asyncio.create_task(leaver.infer())
    await wait_until(lambda: leaver.waiting == 1)
    await leaver.drain()
    status, headers, _ = await call
    assert status == 202
    epoch = await cell.worker("w1", holds=[await heir.ref()])
    await cell.scripts.sweep()
    await answer_all(cell, epoch)
    assert (await heir.get(headers["Location"]))[2]["status"] == "succeeded"


async def test_who_can_be_answered_soon_is_answered(
    cell: Cell, leaver: RunningGateway, epoch: str
) -> None:
    """Within the time that callers are given; then nothing is left to wait for."""
    call = asyncio.create_task(leaver.infer())
    await wait_until(lambda: leaver.waiting == 1)
    draining = asyncio.create_task(leaver.drain(60))
    await wait_until(lambda: leaver.draining)
    assert not draining.done()
    await answer_all(cell, epoch)
    assert (await call)[0] == 200
    await draining


async def test_a_reply_that_nobody_has_read_yet_is_an_answer(
    cell: Cell, leaver: RunningGateway, epoch: str
) -> None:
    """The outcome of a request that was about to be handed over: 200, not 202."""
    call = asyncio.create_task(leaver.infer())
    await wait_until(lambda: leaver.waiting == 1)
    await leaver.context.handover._supervisor.stop("replies")
    await answer_all(cell, epoch)
    await leaver.drain()
    status, _, document = await call
    assert status == 200 and document["outputs"][0]["data"] == [3.0, 4.0]


async def test_who_polls_is_told_how_things_stand(
    cell: Cell, leaver: RunningGateway, epoch: str
) -> None:
    """At once, not when the gateway's time is over; as is who waits a while for its 202."""
    _, headers, _ = await leaver.infer(Prefer="respond-async")
    poll = asyncio.create_task(leaver.get(headers["Location"] + "?wait=60"))
    await wait_until(lambda: len(leaver.context.records._waiters) == 1)
    await leaver.context.handover.begin()
    status, _, document = await poll
    assert (status, document["status"]) == (200, "queued")
    await answer_all(cell, epoch)


async def test_who_would_have_polled_anyway_has_its_202_sooner(
    cell: Cell, leaver: RunningGateway, heir: RunningGateway, epoch: str
) -> None:
    """`Prefer: respond-async, wait=60`."""
    call = asyncio.create_task(leaver.infer(Prefer="respond-async, wait=60"))
    await wait_until(lambda: leaver.waiting == 1)
    await leaver.drain()
    status, headers, _ = await call
    assert status == 202 and headers["Preference-Applied"] == "respond-async"
    await answer_all(cell, epoch)
    assert (await heir.get(headers["Location"]))[2]["status"] == "succeeded"


async def test_tensors_in_this_gateways_memory_cannot_be_handed_over(
    cell: Cell, leaver: RunningGateway, epoch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a request is taken back, and its caller told to ask again: nothing was promised."""
    store = leaver.context.handover._shared_memory
    if store._store is None:
        pytest.skip("no shared memory here")
    await cell.client.sadd(cell.keys.host(store._store.host), "w1")
    assert await store.look_once()
    monkeypatch.setattr(shared_memory, "SHARED_MEMORY_FROM_BYTES", 1)  # all tensors are large
    call = asyncio.create_task(leaver.infer())
    await wait_until(lambda: leaver.waiting == 1)
    await leaver.drain()
    status, headers, document = await call
    assert status == 503 and headers["Retry-After"]
    assert "stopping" in document["error"]
    assert await cell.read() == []


async def test_a_stopping_gateway_takes_nothing_new(
    cell: Cell, leaver: RunningGateway, epoch: str
) -> None:
    """On an open connection 503, and its end; a new connection is not taken; it is not ready."""
    await leaver.get("/v2")
    call = asyncio.create_task(leaver.infer())
    await wait_until(lambda: leaver.waiting == 1)
    await leaver.get("/v2")  # so a second connection is open and idle
    draining = asyncio.create_task(leaver.drain(60))
    await wait_until(lambda: leaver.draining)
    assert "stopping" in (await leaver.context.health.document())["error"]
    status, headers, document = await leaver.infer()
    assert status == 503 and headers["Retry-After"] and headers["Connection"] == "close"
    assert "stopping" in document["error"]
    with pytest.raises(aiohttp.ClientConnectorError):
        await leaver.get("/v2")
    await answer_all(cell, epoch)
    assert (await call)[0] == 200
    await draining


async def test_stream_entries_in_its_hands_go_to_another_gateway(
    cell: Cell, leaver: RunningGateway, heir: RunningGateway, epoch: str
) -> None:
    """At once: its lease ends with it."""
    await leaver.context.handover._supervisor.stop("ingress")
    await heir.context.handover._supervisor.stop("ingress", "lease", "outbox")
    (gateway,) = [
        name.decode() for name in await cell.client.zrange(cell.keys.gateways, 0, -1)
        if name.decode() == leaver.context.handover._gateway
    ]  # fmt: skip
    await cell.client.xadd(cell.keys.ingress, {"model": "mnist", "body": BODY})
    await cell.client.xreadgroup("g", gateway, {cell.keys.ingress: ">"})
    await leaver.drain()
    assert await cell.gateway("gw-other", 60_000) == 1


async def test_without_redis_callers_are_told_to_ask_again(
    cell: Cell, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody hangs, and the gateway ends: its lease does what is left to do."""
    monkeypatch.setattr(module, "LONGEST_S", 0.3)
    async with Proxy.to(cell.url) as proxy:
        async with running_gateway(cell, models, proxy.url) as leaver:
            call = asyncio.create_task(leaver.infer())
            await wait_until(lambda: leaver.waiting == 1)
            proxy.refusing = True
            proxy.cut()
            await leaver.drain()
            status, headers, _ = await call
    assert status == 503 and headers["Retry-After"]
    assert await cell.client.xlen(cell.keys.parked(await _only_ref(cell))) == 1


async def _only_ref(cell: Cell) -> str:
    (key,) = await cell.client.keys(cell.keys.parked("*"))
    return key.decode().partition("parked:")[2]
