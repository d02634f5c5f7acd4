"""F49: a client whose connection breaks in the middle of its request has asked for nothing."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

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

HEAD = (
    f"POST {INFER} HTTP/1.1\r\nHost: a\r\nPrefer: respond-async\r\nIdempotency-Key: once\r\n"
    f"Content-Length: {len(BODY)}\r\n\r\n"
).encode()


@pytest.fixture
async def gateway(cell: Cell, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(cell, publish_nothing(tmp_path)) as gateway:
        yield gateway


async def send_and_reset(gateway: RunningGateway, data: bytes) -> None:
    """Send so much, and end the connection with RST."""
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    taken = writer.get_extra_info("socket")
    writer.write(data)
    await writer.drain()
    await asyncio.sleep(0.01)  # it arrives before the end does
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize("part", [0.2, 0.5, 0.99])
async def test_half_a_request_is_no_request(
    gateway: RunningGateway, cell: Cell, part: float
) -> None:
    """Nothing of it is in Redis, nothing waits for it, and its key is free."""
    epoch = await cell.worker(holds=[await gateway.ref()])
    whole = HEAD + BODY
    for _ in range(10):
        await send_and_reset(gateway, whole[: round(len(whole) * part)])
    call = asyncio.create_task(gateway.infer(**{"Idempotency-Key": "once"}))
    await wait_until(lambda: _queued(cell, 1))
    assert await answer_all(cell, epoch)
    status, headers, _ = await call
    assert status == 200 and "Idempotency-Replayed" not in headers
    assert gateway.waiting == 0 and await _queued(cell, 0)
    assert gateway.context.intake.admission.requests == 0


async def _queued(cell: Cell, count: int) -> bool:
    return bool(await cell.client.xlen(cell.keys.work("w1")) == count)
