"""F81: ten times more requests at once than may wait."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from tests.helpers.cell import Cell
from tests.helpers.gateway import answer_all, publish_nothing, running_gateway
from tests.helpers.wait import wait_until

QUEUE = 20


async def test_ten_times_too_much_is_refused_with_when_to_come_back_and_leaves_nothing(
    cell: Cell, tmp_path: Path
) -> None:
    """What may wait is answered all the same; each wave finds the gateway as the first one did."""
    bounds = {"WARMROUTE_MAX_QUEUE": str(QUEUE)}
    async with running_gateway(cell, publish_nothing(tmp_path), **bounds) as gateway:
        epoch = await cell.worker(holds=[await gateway.ref()], lease_ms=600_000)
        for _ in range(3):
            calls = [asyncio.create_task(gateway.infer()) for _ in range(10 * QUEUE)]
            await wait_until(lambda calls=calls: sum(map(asyncio.Task.done, calls)) >= 9 * QUEUE)
            assert gateway.waiting == QUEUE
            assert len(await answer_all(cell, epoch)) == QUEUE
            answers = await asyncio.gather(*calls)
            assert Counter(status for status, _, _ in answers) == {200: QUEUE, 429: 9 * QUEUE}
            told = [int(h["Retry-After"]) for status, h, _ in answers if status == 429]
            assert all(seconds >= 1 for seconds in told)
            assert gateway.waiting == 0 and gateway.context.intake.admission.requests == 0
            assert await cell.client.xlen(cell.keys.work("w1")) == 0
