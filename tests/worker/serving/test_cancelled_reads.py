"""F46 and F47: what a reader had been given when it was cancelled, or died, is not forgotten."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

from shared.channel import Channel
from tests.helpers.cell import Cell
from tests.helpers.consuming import Worker
from tests.helpers.factories import REF, kept
from tests.helpers.wait import wait_until


async def test_a_read_that_is_cancelled_again_and_again_loses_nothing(worker: Worker) -> None:
    """What Redis had sent meanwhile is the worker's, unseen: the next read begins with it."""
    dice, ids = random.Random(47), []
    for value in range(40):
        reading = asyncio.create_task(_read_on(worker))
        await asyncio.sleep(0.002)  # it waits in Redis
        sending = asyncio.create_task(worker.send(value))
        await asyncio.sleep(dice.choice([0, 0.0003, 0.001]))
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
        ids += await sending
    worker.supervisor.start()
    await wait_until(lambda: _ended(worker, len(ids)))
    outcomes = await worker.outcomes(len(ids))
    assert outcomes == {i: ("succeeded", 2.0 * n) for n, i in enumerate(ids)}
    assert len(await worker.cell.replies()) == len(ids)


async def _read_on(worker: Worker) -> None:
    while True:
        await worker.receiver.receive_once()


async def _ended(worker: Worker, count: int) -> bool:
    return len(await worker.cell.replies()) >= count and not worker.inflight


async def test_what_a_dead_reader_had_been_sent_goes_to_another_worker(cell: Cell) -> None:
    """Redis has handed it to a blocked read whose process never saw it: no start is charged."""
    await cell.gateway()
    dead = await cell.worker("dead", holds=[REF], lease_ms=300)
    blocked = Channel(cell.url)
    reading = asyncio.create_task(
        blocked.execute_command(
            "XREADGROUP", "GROUP", dead, "dead", "BLOCK", 10_000, "STREAMS",
            cell.keys.work("dead"), ">",
        )
    )  # fmt: skip
    await wait_until(lambda: _reads(cell))
    (placed,) = await cell.place(kept())
    assert (await reading)[0][1][0][0] == placed.entry.encode()
    await blocked.aclose()
    await cell.worker("alive", holds=[REF])

    async def reaped() -> bool:
        return await cell.reap() is not None

    await wait_until(reaped)
    ((_, fields),) = await cell.read("alive")
    assert fields["attempts"] == b"0"


async def _reads(cell: Cell) -> bool:
    clients = await cell.client.client_list()
    return any(client["cmd"] == "xreadgroup" for client in clients)
