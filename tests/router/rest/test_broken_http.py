"""F65 and F72: what is no HTTP, or no number, is 400 and nothing else, whoever parses it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
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

PURE_PYTHON = "AIOHTTP_NO_EXTENSIONS"
START = (
    f"POST {INFER} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nPrefer: respond-async\r\n".encode()
)
SIZE = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
ONE_CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)

BROKEN = {
    "two lengths": START + SIZE + b"Content-Length: 1\r\n\r\n" + BODY,
    "length and chunks": START + SIZE + CHUNKED + b"\r\n" + ONE_CHUNK,
    "a length with a plus": START + SIZE.replace(b": ", b": +") + b"\r\n" + BODY,
    "a negative length": START + SIZE.replace(b": ", b": -") + b"\r\n" + BODY,
    "a length that is no number": START + b"Content-Length: ten\r\n\r\n" + BODY,
    "a blank before the colon": START + SIZE.replace(b":", b" :") + b"\r\n" + BODY,
    "a folded header": START + b"X-A: a\r\n b\r\n" + SIZE + b"\r\n" + BODY,
    "NUL in a header": START + b"X-A: a\0b\r\n" + SIZE + b"\r\n" + BODY,
    "a line end in a header": START + b"X-A: a\rb\r\n" + SIZE + b"\r\n" + BODY,
    "a name that is none": START + b"X(A): a\r\n" + SIZE + b"\r\n" + BODY,
    "a header without a colon": START + b"nonsense\r\n" + SIZE + b"\r\n" + BODY,
    "a chunk of no size": START + CHUNKED + b"\r\nxyz\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk of negative size": START + CHUNKED + b"\r\n-1\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk longer than it says": START + CHUNKED + b"\r\n2\r\n" + BODY + b"\r\n0\r\n\r\n",
    "an unknown coding": START + b"Transfer-Encoding: zip\r\n" + SIZE + b"\r\n" + BODY,
    "a header of 9 KB": START + b"X-A: " + b"a" * 9000 + b"\r\n" + SIZE + b"\r\n" + BODY,
    "no request at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n",
    "5,000 digits": START + b"Content-Length: 5066\r\n\r\n"
    + b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, '
    + b"7" * (5066 - 79) + b"]}]}",
}  # fmt: skip


@pytest.fixture
async def gateway(cell: Cell, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(cell, publish_nothing(tmp_path)) as gateway:
        yield gateway


async def exchange(gateway: RunningGateway, sent: bytes) -> bytes:
    """Whatever comes back until the server ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(sent)
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.transport.abort()


async def test_what_is_no_http_is_refused_and_asks_for_nothing(
    gateway: RunningGateway, cell: Cell
) -> None:
    """No second request is found inside the first, and the next caller is served."""
    epoch = await cell.worker(holds=[await gateway.ref()], lease_ms=600_000)
    for name, sent in BROKEN.items():
        answer = await exchange(gateway, sent)
        assert answer.split(b" ", 2)[1:2] == [b"400"], (name, answer[:300])
        assert answer.count(b"HTTP/1.") == 1, name
        assert await cell.client.xlen(cell.keys.work("w1")) == 0, name
        call = asyncio.create_task(gateway.infer())
        await wait_until(lambda: gateway.waiting == 1)
        await answer_all(cell, epoch)
        assert (await call)[0] == 200, name


async def test_the_same_bytes_without_a_fault_are_accepted(
    gateway: RunningGateway, cell: Cell
) -> None:
    """Both with a length and in chunks, so the refusals above are for their faults."""
    await cell.worker(holds=[await gateway.ref()])
    for sent in (START + SIZE + b"\r\n" + BODY, START + CHUNKED + b"\r\n" + ONE_CHUNK):
        assert (await exchange(gateway, sent)).startswith(b"HTTP/1.1 202 ")
    assert await cell.client.xlen(cell.keys.work("w1")) == 2


@pytest.mark.skipif(PURE_PYTHON in os.environ, reason="this is that run")
def test_the_parser_in_python_refuses_the_same() -> None:
    """aiohttp has it where its compiled one is missing."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    env = {**os.environ, PURE_PYTHON: "1"}
    ran = subprocess.run(command, env=env, capture_output=True, text=True, cwd=Path.cwd())
    assert ran.returncode == 0, ran.stdout[-3000:]
