"""F25: the clock of a gateway's host is set an hour on, or back, and no lease or deadline moves."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.helpers.cell import Cell
from tests.helpers.gateway import answer_all, publish_nothing, running_gateway
from tests.helpers.wait import wait_until

HOUR_S = 3600


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S])
async def test_a_clock_that_jumps_changes_no_lease_and_no_deadline(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump_s: int
) -> None:
    """Who waits goes on waiting, who is alive stays so, new deadlines are by Redis's clock."""
    real, real_ns = time.time, time.time_ns
    async with running_gateway(cell, publish_nothing(tmp_path)) as gateway:
        epoch = await cell.worker(holds=[await gateway.ref()], lease_ms=600_000)
        before = asyncio.create_task(gateway.infer())
        await wait_until(lambda: gateway.waiting == 1)

        monkeypatch.setattr(time, "time", lambda: real() + jump_s)
        monkeypatch.setattr(time, "time_ns", lambda: real_ns() + jump_s * 10**9)

        assert abs(time.time() - real()) > HOUR_S - 60
        after = asyncio.create_task(gateway.infer(**{"Warmroute-Timeout": "30"}))
        await wait_until(lambda: gateway.waiting == 2)
        await asyncio.sleep(1.2)  # a beat and a sweep
        seconds, _ = await cell.client.time()
        leases = await cell.client.zrange(cell.keys.gateways, 0, -1, withscores=True)
        assert [abs(score / 1000 - seconds) < 60 for _, score in leases] == [True]
        assert await cell.client.zcard(cell.keys.workers) == 1
        entries = await answer_all(cell, epoch)
        deadlines = [int(fields["deadline"]) / 1000 - seconds for _, fields in entries]
        assert all(0 < left_s < 120 for left_s in deadlines)
        assert [(await call)[0] for call in (before, after)] == [200, 200]
