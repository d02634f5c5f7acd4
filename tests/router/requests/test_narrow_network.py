"""F51: a narrow way to Redis. What is too large for it fails in time, the rest gets by."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local.redis_server import RedisServer
from router.catalog.catalog import LATEST
from shared.repository import open_repository
from shared.repository.publish import publish
from tests.helpers.factories import manifest, spec
from tests.helpers.faulty import Faulty, faulty_gateway
from tests.helpers.wait import wait_until

WIDTH = 50_000  # 200 kB
NARROW_BYTES_PER_S = 16_000.0


@pytest.fixture
async def faulty(
    own_redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Faulty]:
    """A gateway that is served."""
    async with faulty_gateway(own_redis.url, tmp_path, monkeypatch) as made:
        yield made


async def hold_wide_model(faulty: Faulty, folder: Path) -> None:
    """Publish one that takes a large input; worker w1 holds it."""
    wide = manifest(
        name="wide", files=[], inputs=[spec("x", "FP32", [-1, WIDTH])], outputs=[spec("y")]
    )
    repository = open_repository((folder / "models").as_uri())
    publish(repository, wide, {"weights/0.safetensors": folder / "weights"})
    ref = str((await faulty.gateway.context.catalog.resolve("wide", LATEST)).ref)
    await faulty.cell.scripts.announce("w1", faulty.epoch, ref, "", "device 1")


async def test_a_request_too_large_for_the_network_is_told_and_small_ones_are_served(
    faulty: Faulty, tmp_path: Path
) -> None:
    """503, since it may still arrive; the gateway keeps its lease and serves on meanwhile."""
    await hold_wide_model(faulty, tmp_path)
    row = {"name": "x", "datatype": "FP32", "shape": [1, WIDTH], "data": [0] * WIDTH}
    body = json.dumps({"inputs": [row]}).encode()
    leases = await faulty.cell.client.zrange(faulty.cell.keys.gateways, 0, -1)
    faulty.be_impatient()
    faulty.proxy.bytes_per_s = NARROW_BYTES_PER_S

    async with asyncio.timeout(30):
        async with faulty.gateway.http.post("/v2/models/wide/infer", data=body) as answer:
            assert answer.status == 503 and answer.headers["Retry-After"]
            assert answer.headers["Warmroute-Error"] == "outcome_unknown"

    await wait_until(faulty.served)
    assert faulty.gateway.waiting == 0
    faulty.proxy.bytes_per_s = None
    await faulty.healed()
    assert await faulty.cell.client.zrange(faulty.cell.keys.gateways, 0, -1) == leases
