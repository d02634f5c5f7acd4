"""Whether a model, and a gateway, is said to be ready: with the cause if not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.helpers.cell import Cell
from tests.helpers.factories import placing
from tests.helpers.gateway import RunningGateway, publish_nothing, running_gateway
from tests.helpers.wait import wait_until
from tests.router.requests.test_traces import READY


@pytest.fixture
async def gateway(cell: Cell, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    """A gateway whose model nobody holds yet."""
    async with running_gateway(cell, publish_nothing(tmp_path)) as running:
        yield running


async def test_a_quarantined_model_is_not_ready_though_it_is_held(
    gateway: RunningGateway, cell: Cell
) -> None:
    """Until a request may try it."""
    ref = await gateway.ref()
    await cell.worker("w1", holds=[ref])
    crashes = {"crashes": 5, "cause": "signal 11", "until": 1 << 50}
    await cell.client.hset(cell.keys.breaker(ref), mapping=crashes)
    await cell.client.pexpire(cell.keys.breaker(ref), 60_000)
    await cell.client.zadd(cell.keys.refused_models, {ref: 1 << 50})
    await cell.client.pexpire(cell.keys.refused_models, 60_000)
    status, _, document = await gateway.get(READY)
    assert (status, document["code"], document["warm"]) == (503, "quarantined", True)
    assert "signal 11" in document["error"]
    (row,) = (await gateway.get("/v2/models"))[2]
    assert row["state"] == "UNAVAILABLE" and "signal 11" in row["reason"]


async def test_a_quarantined_model_is_ready_while_a_proven_holder_serves_it(
    gateway: RunningGateway, cell: Cell
) -> None:
    """What is said is what `place` does; the listing names those that go on."""
    ref = await gateway.ref()
    await cell.worker("w1", holds=[ref])
    crashes = {
        "crashes": 5, "cause": "signal 11", "until": 1 << 50, "by": "w2 3 w3 2", "ok_at": 1 << 50,
    }  # fmt: skip
    await cell.client.hset(cell.keys.breaker(ref), mapping=crashes)
    await cell.client.pexpire(cell.keys.breaker(ref), 60_000)
    await cell.client.zadd(cell.keys.refused_models, {ref: 1 << 50})
    await cell.client.pexpire(cell.keys.refused_models, 60_000)
    (placed,) = await cell.place(placing(ref=ref))
    assert (placed.status, placed.detail) == ("placed", "w1")
    status, _, document = await gateway.get(READY)
    assert (status, document["ready"], document["warm"]) == (200, True, True)
    assert "other workers than w1" in document["note"]
    (row,) = (await gateway.get("/v2/models"))[2]
    assert row["state"] == "READY" and "other workers than w1" in row["reason"]
    found = (await gateway.get(READY.replace("/ready", "/residency")))[2]
    assert (found["quarantine"]["open"], found["quarantine"]["served_by"]) == (True, ["w1"])


async def test_a_gateway_without_enough_workers_is_not_ready(cell: Cell, tmp_path: Path) -> None:
    """If it is told how many are enough."""
    folder = publish_nothing(tmp_path)
    async with running_gateway(cell, folder, WARMROUTE_MIN_WORKERS="1") as gateway:
        status, headers, document = await gateway.get("/v2/health/ready")
        assert (status, document["workers"], document["ready"]) == (503, 0, False)
        assert headers["Warmroute-Error"] == "unavailable" and int(headers["Retry-After"]) >= 1
        assert "WARMROUTE_MIN_WORKERS is 1" in document["error"]
        await cell.worker("w1")

        async def ready() -> bool:
            return (await gateway.get("/v2/health/ready"))[0] == 200

        await wait_until(ready)
        document = (await gateway.get("/v2/health/ready"))[2]
        assert (document["workers"], document["states"]) == (1, {"ready": 1})
